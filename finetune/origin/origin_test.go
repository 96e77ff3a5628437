package origin

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/setting"
)

// making is a run of which every fact says something.
func making(t *testing.T, how string) *Run {
	t.Helper()
	c := config.Default()
	c.Method = how
	c.Mask, c.SeqLen, c.DropReasoning, c.OnLong = "last", 48, true, "drop"
	c.Columns, c.TextSplit, c.TaskExamples, c.TaskChat = []string{"prompt=ask", "completion=say"}, "line", 0, true
	c.RankedPairs = "best-worst"
	if strings.Contains(how, ",") {
		c.LossWeights = []float64{0.8, 1}
	}
	if how != "sft" {
		c.Settings.Set("beta", 0.3)
	}
	m, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	c.Settings = m.Settings()
	tmpl, err := template.Builtin("chatml")
	if err != nil {
		t.Fatal(err)
	}
	return &Run{Config: &c, Method: m, BaseSHA256: "ba5e", Reference: "4ef", Template: tmpl, Version: "v1"}
}

// TestKeys: the keys are in files that people have.
func TestKeys(t *testing.T) {
	want := []string{"base_sha256", "columns", "control_tokens", "drop_reasoning", "loss_weights", "mask", "method",
		"method_settings",
		"on_long", "ranked_pairs", "reference_sha256",
		"seq_len", "task_chat", "task_examples", "template", "template_sha256", "text_split", "version"}
	info := making(t, "dpo,sft").Info()
	if got := slices.Sorted(maps.Keys(info)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := info["columns"]+info["loss_weights"]+info["method_settings"],
		`["prompt=ask","completion=say"][0.8,1]{"beta":0.3}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r := making(t, "sft")
	r.Config.Columns, r.Template = nil, nil
	got := slices.Sorted(maps.Keys(r.Info()))
	if want := slices.DeleteFunc(want, func(k string) bool {
		return slices.Contains([]string{"columns", "loss_weights", "method_settings", "ranked_pairs",
			"reference_sha256", "template", "template_sha256"}, k)
	}); !slices.Equal(got, want) {
		t.Errorf("a run with less to say: got %q, want %q", got, want)
	}
}

// silent are the options of `ggtune eval` that an adapter says nothing of, and why.
var silent = map[string]string{
	"model": "base_sha256 tells it", "ref-adapter": "reference_sha256 tells it", "teacher": "teacher_sha256 tells it",
	"guide": "teacher_sha256 tells it",
	"data":  "other data is measured on", "format": "is that data's", "replace-invalid": "is that data's",
	"strict":  "is that data's",
	"head":    "lies beside the adapter, and has its hash",
	"packing": "changes only the last bits", "batch": "changes only the last bits",
	"threads": "changes only the last bits",
	"exact":   "is the machine's", "device": "is the machine's", "eval-rows": "is the measurement's",
	"seed": "is the measurement's", "rollout-prompts": "is the measurement's",
	"num-generations": "is the measurement's",
	"reward-cmd":      "nobody but the user names a program", "reward-timeout": "is that program's",
	"rollout-lean":     "is a matter of the machine's memory",
	"rollout-parallel": "is a matter of the machine's memory",
	"env-cmd":          "nobody but the user names a program", "env-timeout": "is that program's",
	"rollout-engine": "changes only the last bits",
	"ranked-rows":    "changes only the last bits",
}

// TestEveryOptionIsDecided: each option that changes what an adapter is measured with is in the table, or left out
// with a reason; none is forgotten.
func TestEveryOptionIsDecided(t *testing.T) {
	keys := map[string]bool{}
	for _, f := range facts {
		if keys[f.key] {
			t.Errorf("%s stands in the table twice", f.key)
		}
		keys[f.key] = true
	}
	left := maps.Clone(silent)
	c := config.Default()
	for _, o := range c.Options() {
		_, isSetting := o.Value.(setting.Slot) // method_settings holds them all
		if !o.Eval || isSetting {
			continue
		}
		_, isSilent := silent[o.Name]
		if said := keys[o.Key]; said == isSilent {
			t.Errorf("--%s: in the table %v, left out %v; want one of them", o.Name, said, isSilent)
		}
		delete(left, o.Name)
	}
	for name := range left {
		t.Errorf("--%s is left out, and is no option of eval", name)
	}
}

// TestTakeDefaults: what a run wrote is what its adapter's user gets, unless he chooses himself.
func TestTakeDefaults(t *testing.T) {
	for _, how := range []string{"sft", "dpo", "dpo,sft", "kto"} {
		r := making(t, how)
		o := &Origin{Adapter: "a.gguf", Info: r.Info()}
		for _, chosen := range []bool{false, true} {
			taken, want := config.Default(), config.Default()
			if !chosen {
				want = *r.Config
				want.Template = "chatml"
				if r.Method.Need != method.Answers {
					want.Mask = "assistant"
				} else {
					want.RankedPairs = "all"
				}
			}
			notes := o.TakeDefaults(&taken, func(string) bool { return chosen })
			if maps.Equal(taken.Settings, want.Settings) { // of which one may be nil
				taken.Settings = want.Settings
			}
			if !reflect.DeepEqual(taken, want) {
				t.Errorf("%s, the user's own choice: %v; got\n%+v, want\n%+v", how, chosen, taken, want)
			}
			if told := len(notes) == 1 && strings.Contains(notes[0],
				"--columns prompt=ask, completion=say"); told == chosen {
				t.Errorf("%s, the user's own choice: %v; notes %q", how, chosen, notes)
			}
		}
	}
}

// TestWords: a choice among a method's settings is kept as its word, and read too as the number that older adapters
// have.
func TestWords(t *testing.T) {
	c := config.Default()
	c.Method = "grpo"
	c.Settings.Set("loss-type", 2)
	how, err := c.Loss()
	if err != nil {
		t.Fatal(err)
	}
	info := (&Run{Config: &c, Method: how}).Info()
	text := info["method_settings"]
	if !strings.Contains(text, `"loss-type":"`) || !strings.Contains(text, `"epsilon":0.2`) {
		t.Errorf("kept: %s", text)
	}
	for name, text := range map[string]string{"as it is kept": text, "as it was": `{"loss-type":2}`} {
		taken := config.Default()
		taken.Method = "grpo"
		o := &Origin{Info: map[string]string{"method": "grpo", "method_settings": text}}
		o.TakeDefaults(&taken, func(string) bool { return false })
		if got := taken.Settings["loss-type"]; got != 2 {
			t.Errorf("%s: taken is %v", name, taken.Settings)
		}
	}
	for _, text := range []string{`{"loss-type":"none such"}`, `{"epsilon":"0.3"}`,
		`{"epsilon":null,"loss-type":[1]}`} {
		taken := config.Default()
		o := &Origin{Info: map[string]string{"method": "grpo", "method_settings": text}}
		o.TakeDefaults(&taken, func(string) bool { return false })
		if len(taken.Settings) > 0 {
			t.Errorf("%s: taken is %v", text, taken.Settings)
		}
	}
}

// TestForeign: what is no value of its option, or a stranger's, changes nothing.
func TestForeign(t *testing.T) {
	o := &Origin{Adapter: "a.gguf", Info: map[string]string{"seq_len": "many", "task_chat": "perhaps", "columns": "[]",
		"loss_weights": `"x"`, "method_settings": "[1]",
		"on_long": "", "mask": "", "template": "/etc/passwd", "other": "x"}}
	taken, want := config.Default(), config.Default()
	notes := o.TakeDefaults(&taken, func(string) bool { return false })
	if !reflect.DeepEqual(taken, want) {
		t.Errorf("got\n%+v, want\n%+v", taken, want)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "was trained with chat template /etc/passwd; give it with "+
		"--template") {
		t.Errorf("notes %q", notes)
	}
	// Settings of another method than the one in use say nothing.
	r := making(t, "dpo")
	taken = config.Default()
	taken.Method = "ipo"
	(&Origin{Info: r.Info()}).TakeDefaults(&taken, func(name string) bool { return name == "method" })
	if len(taken.Settings) > 0 {
		t.Errorf("settings %v are another method's", taken.Settings)
	}
}

// TestDiffers: each thing that is known is compared, and no other.
func TestDiffers(t *testing.T) {
	r := making(t, "dpo")
	o := &Origin{Adapter: "a.gguf", Info: r.Info()}
	other, err := template.Builtin("alpaca")
	if err != nil {
		t.Fatal(err)
	}
	alone, same := "", "4ef"
	for _, tc := range []struct {
		name string
		use  Use
		want string
	}{
		{"nothing known", Use{}, ""},
		{"all the same", Use{Model: "m.gguf", ModelSHA256: "ba5e", Template: r.Template, Reference: &same}, ""},
		{"base", Use{Model: "m.gguf", ModelSHA256: "0ff"},
			"a.gguf was trained on another base (sha256 ba5e…) than m.gguf (0ff…)"},
		{"template", Use{Template: other}, `trained with chat template "chatml"; "alpaca", in use here`},
		{"reference", Use{Reference: &alone}, "was trained against the base with an adapter (sha256 4ef…), and is " +
			"compared with the base alone"},
	} {
		got := strings.Join(o.Differs(tc.use), "\n")
		if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := (&Origin{}).Differs(Use{Model: "m", ModelSHA256: "0ff", Template: other,
		Reference: &alone}); len(got) > 0 {
		t.Errorf("an adapter that says nothing: %q", got)
	}
}

// TestOlder: an adapter of ours that is older than an option was trained as was done before it.
func TestOlder(t *testing.T) {
	info := making(t, "sft").Info()
	delete(info, "control_tokens")
	for _, tc := range []struct {
		info  map[string]string
		plain bool
	}{{info, true}, {map[string]string{}, false}} {
		taken := config.Default()
		(&Origin{Adapter: "a.gguf", Info: tc.info}).TakeDefaults(&taken, func(string) bool { return false })
		if taken.PlainControl() != tc.plain {
			t.Errorf("of %d facts: got control tokens %q", len(tc.info), taken.ControlTokens)
		}
	}
}

// TestOtherTeacher: who measures beside another embedder than the adapter learned from is told, and only then.
func TestOtherTeacher(t *testing.T) {
	none := ""
	o := &Origin{Adapter: "a.gguf", Info: map[string]string{methodName: "margin-mse", "teacher_sha256": "7eac"}}
	if notes := o.Differs(Use{Reference: &none, Teacher: "7eac"}); len(notes) > 0 {
		t.Errorf("of the same: %q", notes)
	}
	notes := o.Differs(Use{Reference: &none})
	if want := "learned from another embedder (sha256 7eac…), and no other"; len(notes) != 1 ||
		!strings.Contains(notes[0], want) {
		t.Errorf("of none: %q", notes)
	}
}
