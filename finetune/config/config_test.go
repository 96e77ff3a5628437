package config

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/template"
	"github.com/ggtune/ggtune/internal/setting"
	"os"
	"path/filepath"
)

// TestOptionsBindEveryField: each field of Config has exactly one option, a key that is its toml tag, and a usage
// line; no name is taken twice.
func TestOptionsBindEveryField(t *testing.T) {
	c := Default()
	v := reflect.ValueOf(&c).Elem()
	opts := c.Options()
	names := map[string]bool{}
	for _, o := range opts {
		for _, n := range append([]string{o.Name}, o.Aliases...) {
			if names[n] {
				t.Errorf("--%s is bound twice", n)
			}
			names[n] = true
		}
		if o.Usage == "" || o.Group == "" {
			t.Errorf("--%s has no usage or group", o.Name)
		}
		if _, list := o.Value.(*[]float64); list != (o.Example != "") {
			t.Errorf("--%s: example %q, want one of each list of numbers", o.Name, o.Example)
		}
	}
	fields := reflect.VisibleFields(v.Type())
	fields = slices.DeleteFunc(fields, func(f reflect.StructField) bool { return f.Name == "Settings" })
	for _, f := range fields {
		var bound []Option
		for _, o := range opts {
			if o.Value == v.FieldByIndex(f.Index).Addr().Interface() {
				bound = append(bound, o)
			}
		}
		if len(bound) != 1 {
			t.Errorf("field %s has %d options, want 1", f.Name, len(bound))
			continue
		}
		if key := strings.TrimPrefix(f.Tag.Get("toml"), "-"); bound[0].Key != key {
			t.Errorf("field %s: key %q, tag %q", f.Name, bound[0].Key, key)
		}
	}
	settings := 0
	for _, r := range readers() {
		settings += len(r.Settings())
	}
	if len(fields)+settings != len(opts) {
		t.Errorf("%d options for %d fields and %d settings", len(opts), len(fields), settings)
	}
}

// TestUsageNamesChoices: usage texts name what package encode and template accept.
func TestUsageNamesChoices(t *testing.T) {
	c := Default()
	for _, name := range []string{encode.Truncate.String(), encode.Drop.String(), encode.Refuse.String()} {
		if u := c.optionOf(&c.OnLong).Usage; !strings.Contains(u, name) {
			t.Errorf("%q lacks %s", u, name)
		}
	}
	for p := encode.BestFit; p <= encode.Unpacked; p++ {
		if u := c.optionOf(&c.Packing).Usage; !strings.Contains(u, p.String()) {
			t.Errorf("%q lacks %s", u, p)
		}
	}
	for m := template.MaskAssistant; m <= template.MaskAll; m++ {
		if u := c.optionOf(&c.Mask).Usage; !strings.Contains(u, m.String()) {
			t.Errorf("%q lacks %s", u, m)
		}
	}
}

// TestSettings: what parts declare is sound, no two kinds of part use one name, and an option shows the default where
// there is one, and whose it is where there is none.
func TestSettings(t *testing.T) {
	c := Default()
	for _, r := range readers() {
		if err := r.Check(); err != nil {
			t.Error(err)
		}
		for _, s := range r.Settings() {
			slot := setting.Slot{Values: &c.Settings, Setting: s}
			o := c.optionOf(slot)
			if x, known := o.Get(); known != (s.Default != nil) || known && x != *s.Default ||
				o.Unset != "the "+r.Kind+"'s" {
				t.Errorf("--%s: got %v, %v, %q", s.Name, x, known, o.Unset)
			}
		}
	}
}

// TestWords: a setting that is a choice of words is one in files, and what help and shells show.
func TestWords(t *testing.T) {
	c := Default()
	form := setting.Choice("its-form", "what form it has", "round", "square")
	o := Option{Value: setting.Slot{Values: &c.Settings, Setting: form}}
	slots := []setting.Slot{o.Value.(setting.Slot)}
	read := func(text string) error {
		into := numbersAndWords(slots)
		if _, err := toml.Decode(text, into); err != nil {
			return err
		}
		return errors.Join(fill(slots, into, "run.toml")...)
	}
	if err := read(""); err != nil || c.Settings.Has(form) {
		t.Errorf("nothing given: %v, %v", c.Settings, err)
	}
	if err := read(`its_form = "square"`); err != nil || c.Settings.Word(form) != "square" {
		t.Errorf("got %v, %v", c.Settings, err)
	}
	if x, ok := o.Get(); x != "square" || !ok {
		t.Errorf("the option is %v, %t", x, ok)
	}
	err := read(`its_form = "flat"`)
	if want := `run.toml: its_form is "flat"; expected round, square`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := read(`its_form = 1`); err == nil {
		t.Error("a number for a word: accepted")
	}
}

func validConfig() Config {
	c := Default()
	c.Model, c.Data, c.Output = "m.gguf", []string{"d.jsonl"}, "run"
	return c
}

func TestTOMLRoundTrip(t *testing.T) {
	c := validConfig()
	c.Model = `C:\models\"q".gguf`
	c.Data, c.Mix = []string{"a,b.jsonl", "ü.txt"}, []string{"old, all.jsonl:0.1"}
	c.EvalSplit, c.LR, c.Seed, c.Alpha, c.LossWeights = Fixed(0.1), Fixed(1e-5), 7, 0.5, []float64{1, 0.5}
	c.Matryoshka = []float64{64, 16}
	c.Tune, c.Train, c.EmbedLR, c.OutType = "part", []string{"norms", "attn_q"}, 1e-6, "bf16"
	c.Settings = setting.Values{"beta": 0.2, "min-lr": 0.1}
	c.Reward, c.RewardWeights = []string{"number=####", "length=20"}, []float64{1, 0.5}
	text, err := c.TOML()
	if err != nil {
		t.Fatal(err)
	}
	got := Default()
	if _, err := got.ParseTOML(string(text), "run.toml"); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	// An empty list comes back as one that is not nil.
	for _, l := range []*[]string{&got.EvalData, &got.Targets, &got.Columns, &got.SamplePrompts} {
		if len(*l) == 0 {
			*l = nil
		}
	}
	// What has a default of its own is written with it; what each method has its own for is not.
	want := maps.Clone(c.Settings)
	for _, r := range readers() {
		for _, s := range r.Settings() {
			if x, known := want.Get(s); known {
				want[s.Name] = x
			}
		}
	}
	if !maps.Equal(got.Settings, want) {
		t.Errorf("settings: got %v, want %v", got.Settings, want)
	}
	got.Settings = c.Settings
	if !reflect.DeepEqual(got, c) {
		t.Errorf("got\n%+v, want\n%+v", got, c)
	}
}

// TestFullIsTuneFull: the older name of a way to tune is read, from the command line and from old runs, and a run that
// had it goes on under the newer one.
func TestFullIsTuneFull(t *testing.T) {
	old, err := ParseRun("model = \"m.gguf\"\nfull = true\n", "run.toml")
	if err != nil || old.Tune != "full" || old.Full || !old.Whole() {
		t.Fatalf("got %+v, %v", old, err)
	}
	lora, err := ParseRun("full = false\n", "run.toml")
	if err != nil || lora.Whole() {
		t.Errorf("got %+v, %v", lora, err)
	}
	now := Before()
	now.Model, now.Full = "m.gguf", true
	if diffs, notes := Compare(old, &now); len(diffs)+len(notes) > 0 {
		t.Errorf("got %v, %v", diffs, notes)
	}
	if diffs, _ := Compare(lora, &now); len(diffs) != 1 || !strings.Contains(diffs[0].Error(), "--tune is full") {
		t.Errorf("got %v", diffs)
	}
	text, err := now.TOML()
	if err != nil || !strings.Contains(string(text), "\ntune = \"full\"\n") || strings.Contains(string(text),
		"\nfull =") {
		t.Errorf("got %s, %v", text, err)
	}
	var c Config
	if _, err := c.ParseTOML("full = true\ntune = \"part\"\n", "c.toml"); err == nil ||
		!strings.Contains(err.Error(), `c.toml: full is given with tune "part"`) {
		t.Errorf("got %v", err)
	}
}

func TestTOMLErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "rank = 8\nrnak = 16\n", `unknown key "rnak"; nearest: "rank"`},
		{"another tool's key", "learning_rate = 1e-4\n",
			`run.toml: unknown key "learning_rate"; ggtune calls it lr (peak learning RATE;`},
		{"another tool's key, in its way of writing", "maxSeqLength = 512\n",
			`unknown key "maxSeqLength"; ggtune calls it seq_len (`},
		{"a slip in another tool's key", "lora_aplha = 8\n",
			`unknown key "lora_aplha"; did you mean alpha (LoRA ALPHA: `},
		{"what computes", "n_gpu_layers = 99\n", `unknown key "n_gpu_layers"; ggtune calls it device (`},
		{"an option's other name", "max_grad_norm = 1.0\n", `unknown key "max_grad_norm"; ggtune calls it clip (`},
		{"a setting of a part", "dpo_beta = 0.1\n", `unknown key "dpo_beta"; ggtune calls it beta (`},
		{"an option of the command line alone", "resume_from_checkpoint = true\n",
			`unknown key "resume_from_checkpoint"; --resume is an option of the command line alone (`},
		{"table", "[lora]\nrank = 8\n", `unknown key "lora`},
		{"wrong type", "\nrank = \"8\"\n", "run.toml"},
		{"no TOML", "rank = \n", "run.toml:1"},
		{"a text for a list", "rank = 8\ndata = \"d.jsonl\"\n",
			"run.toml:2: data is a text in quotes, expected a list in brackets"},
		{"a text for a setting", "rank = 8\nwarmup = \"1\"\n",
			"run.toml:2: warmup is a text in quotes, expected a number"},
		{"no number", "beta = nan\n", "run.toml: beta is NaN; expected a number"},
		{"near a setting", "warmpu = 1\n", `unknown key "warmpu"; nearest: "warmup"`},
		{"a text for a number", "lr = \"1e-4\"\n", `run.toml:1: lr is neither a number nor "auto"`},
		{"a fraction", "steps = 1.5\n", "run.toml:1: steps is a fraction, expected a whole number"},
		{"a fraction where auto may be", "epochs = 1.5\n", `run.toml:1: epochs is neither a whole number nor "auto"`},
		{"a number for a switch", "full = 1\n", "run.toml:1: full is a whole number, expected true or false"},
		{"a list for a text", "model = [\"m\"]\n",
			"run.toml:1: model is a list in brackets, expected a text in quotes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Default()
			_, err := c.ParseTOML(tc.text, "run.toml")
			var ce *Error
			if !errors.As(err, &ce) || !strings.Contains(err.Error(), tc.want) ||
				strings.Contains(err.Error(), "\n\n") {
				t.Errorf("got %v, want a Error with %q", err, tc.want)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "x.toml")
	c := Default()
	if _, err := c.LoadTOML(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	if err := os.WriteFile(path, []byte("alpha = 8\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	named, err := c.LoadTOML(path)
	if err != nil || c.Alpha != 8 || c.Rank != 16 {
		t.Errorf("got alpha %g, rank %d, %v; want 8, 16", c.Alpha, c.Rank, err)
	}
	if !named["alpha"] || named["rank"] {
		t.Errorf("named are %v, want alpha alone", named)
	}
}

func TestValidate(t *testing.T) {
	if c := validConfig(); c.Validate() != nil {
		t.Fatalf("the defaults are refused: %v", c.Validate())
	}
	allowed := validConfig()
	allowed.Schedule, allowed.Steps, allowed.Settings = "wsd", 10,
		setting.Values{"decay": 3, "min-lr": 0.1, "warmup": 9}
	if err := allowed.Validate(); err != nil {
		t.Errorf("a schedule's own settings are refused: %v", err)
	}
	for _, tc := range []struct {
		name   string
		change func(c *Config)
		want   []string
	}{
		{"nothing given", func(c *Config) { c.Model, c.Data, c.Output = "", nil, "" },
			[]string{"--model is missing", "--data is missing", "--output is missing"}},
		{"rank 0, alpha 0", func(c *Config) { c.Rank, c.Alpha = 0, 0 },
			[]string{"--rank is 0; expected 1 to 1024", "--alpha is 0; expected above 0"}},
		{"learning rate", func(c *Config) { c.LR = Fixed(-1e-4) },
			[]string{"--lr is -0.0001; expected auto, or above 0"}},
		{"not numbers", func(c *Config) { c.LR, c.Alpha, c.Clip = Fixed(math.NaN()), math.Inf(1), math.NaN() },
			[]string{"--lr is NaN", "--alpha is +Inf", "--clip is NaN"}},
		{"a seed that TOML cannot hold", func(c *Config) { c.Seed = 1 << 63 },
			[]string{"--seed is 9223372036854775808; expected 0 to 9223372036854775807"}},
		{"counts", func(c *Config) { c.Batch, c.Accum, c.Epochs, c.Steps = 0, Fixed(0), Fixed(0), -1 },
			[]string{"--batch is 0", "--accum is 0", "--epochs is 0", "--steps is -1"}},
		{"names", func(c *Config) {
			c.Method, c.Schedule, c.Packing, c.OnLong, c.Mask, c.Init, c.Device = "stf", "cosin", "best", "cut",
				"asistant", "x", "cuda"
		}, []string{`unknown method "stf"; nearest: "sft"`, `"cosine"`, `"best-fit"`, "truncate", "known: assistant",
			"kaiming", "cpu"}},
		{"rates", func(c *Config) {
			c.Dropout, c.EvalSplit, c.Settings = 1, Fixed(1.0),
				setting.Values{"min-lr": 1.5, "beta1": 1, "warmup": math.NaN(), "eps": 0}
		}, []string{"--dropout is 1", "--min-lr is 1.5; expected 0 to 1, a fraction of the peak",
			"--beta1 is 1; expected 0 to below 1", "--eval-split is 1", "--warmup is NaN", "--eps is 0"}},
		{"patience without data", func(c *Config) { c.Patience, c.EvalSplit, c.EvalEvery = 2, Fixed(0.0), Fixed(0) },
			[]string{"--patience is 2; expected held-out", "--eval-every"}},
		{"both held-out sets", func(c *Config) { c.EvalSplit, c.EvalData = Fixed(0.1), []string{"x"} },
			[]string{"--eval-split is given with --eval-data"}},
		{"full with an adapter's options", func(c *Config) { c.Full, c.Dropout, c.Layers = true, 0.1, "0" },
			[]string{"--dropout is given with --tune full", "--layers is given with --tune full"}},
		{"full with an adapter's numbers",
			func(c *Config) { c.Full, c.Rank, c.Alpha, c.LoRAPlus, c.Init = true, 8, 8, 16, "gaussian" },
			[]string{"--rank is given with --tune full", "--alpha is given with --tune full", "--lora-plus is given " +
				"with --tune full",
				"--init is given with --tune full"}},
		{"tensors of the model", func(c *Config) { c.Tune, c.Full, c.EmbedLR = "part", true, -1 },
			[]string{"--full is given with --tune part", "--embed-lr is -1"}},
		{"no choice of tensors", func(c *Config) { c.Tune = "part" }, []string{"--train is missing with --tune part"}},
		{"tensors of an adapter", func(c *Config) {
			c.Tune, c.Train, c.EmbedLR = "lora", []string{"norms"}, 1e-4
		}, []string{"--train is given with --tune lora", "--embed-lr is given with --tune lora"}},
		{"types of an adapter", func(c *Config) { c.Tune, c.OutType = "lora", "q8_0" },
			[]string{"--outtype is given as q8_0 with --tune lora; expected f32 or f16"}},
		{"f16 of what is multiplied out", func(c *Config) { c.Tune, c.OutType, c.Rank = "vera", "f16", 256 },
			[]string{"--outtype is given with --tune vera; expected it with lora or lora-fa"}},
		{"f16 of what is taken away", func(c *Config) { c.Init, c.OutType = "pissa", "f16" },
			[]string{"--outtype is given with --init pissa", "ggtune adapter add RUN --type f16"}},
		{"full and a kind of adapter", func(c *Config) { c.Tune, c.Full = "dora", true },
			[]string{"--full is given with --tune dora"}},
		{"lora-fa", func(c *Config) { c.Tune, c.LoRAPlus = "lora-fa", 16 },
			[]string{"--lora-plus is given with --tune lora-fa; expected one of them: A does not learn"}},
		{"dora", func(c *Config) {
			c.Tune, c.Init, c.Mergeable, c.SamplePrompts = "dora", "pissa", true, []string{"x"}
		}, []string{"--init is given with --tune dora", "--mergeable is given with --tune dora",
			"--sample-prompts is given with --tune dora"}},
		{"vera", func(c *Config) { c.Tune, c.Alpha, c.RSLoRA, c.InitAdapter = "vera", 8, true, "x" },
			[]string{"--alpha is given with --tune vera", "--rslora is given with --tune vera",
				"--init-adapter is given with --tune vera"}},
		{"ia3", func(c *Config) { c.Tune, c.Rank, c.Dropout, c.Init = "ia3", 8, 0.1, "gaussian" },
			[]string{"--rank is given with --tune ia3", "--dropout is given with --tune ia3",
				"--init is given with --tune ia3"}},
		{"names of tuning", func(c *Config) { c.Tune = "lorra" },
			[]string{`unknown way to tune "lorra"; nearest: "lora"`}},
		{"types to write", func(c *Config) { c.Tune, c.OutType = "full", "q4_k" },
			[]string{`--outtype: unknown type to write "q4_k"`}},
		{"a master of an adapter", func(c *Config) { c.Master = "bf16" },
			[]string{"--master is given with --tune lora"}},
		{"a master that is not written", func(c *Config) { c.Tune, c.Master, c.OutType = "full", "bf16", "q8_0" },
			[]string{"--outtype is q8_0 with --master bf16; expected bf16"}},
		{"unknown master", func(c *Config) { c.Tune, c.Master = "full", "f16" },
			[]string{`--master: unknown type to train "f16"`}},
		{"averages", func(c *Config) { c.EMA = 1 }, []string{"--ema is 1; expected 0 to below 1"}},
		{"averages of bf16", func(c *Config) { c.Tune, c.Master, c.EMA = "full", "bf16", 0.9 },
			[]string{"--ema is given with --master bf16"}},
		{"another optimizer's scale", func(c *Config) { c.MuonScale = "original" },
			[]string{"--muon-scale is given with --optimizer adamw", "--lr is auto with --muon-scale original"}},
		{"unknown scale", func(c *Config) { c.Optim, c.MuonScale = "muon", "orignal" },
			[]string{`--muon-scale: unknown scale of Muon's steps "orignal"; nearest: "original"`}},
		{"what a schedule has not",
			func(c *Config) { c.Schedule, c.Settings = "constant", setting.Values{"decay": 10, "min-lr": 0.1} },
			[]string{"--decay is 10 with --schedule constant, which has no such part; expected --schedule wsd with it",
				"--min-lr is 0.1 with --schedule constant"}},
		{"a setting that nobody has", func(c *Config) { c.Settings = setting.Values{"warmpu": 1} },
			[]string{`unknown setting "warmpu"; nearest: "warmup"`}},
		{"only a warm-up", func(c *Config) { c.Steps, c.Settings = 10, setting.Values{"warmup": 10} },
			[]string{"--warmup: 10 steps of warm-up, and the run has 10"}},
		{"every token and the last turn", func(c *Config) { c.Method, c.Mask = "cpt", "last" },
			[]string{"--mask is last with --method cpt"}},
		{"data", func(c *Config) { c.Columns, c.TaskExamples, c.Format = []string{"answer"}, -1, "mesages" },
			[]string{`"answer" renames nothing`, "--task-examples is -1", `nearest: "messages"`}},
		{"layers", func(c *Config) { c.Layers = "0-x" }, []string{`"0-x" is no layer`}},
		{"row of one token", func(c *Config) { c.SeqLen = 1 }, []string{"--seq-len is 1"}},
		{"threads, memory", func(c *Config) { c.Threads, c.Memory = -1, -5 },
			[]string{"--threads is -1", "--memory is -5"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := validConfig()
			tc.change(&c)
			err := c.Validate()
			var ce *Error
			if !errors.As(err, &ce) {
				t.Fatalf("got %v", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got\n%v\nwant %q in it", err, w)
				}
			}
		})
	}
}

// TestMethodOptions: what a method does not read is refused, and so is what it cannot use.
func TestMethodOptions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"beta 0", func(c *Config) { c.Settings = setting.Values{"beta": 0} }, "--beta is 0; expected above 0"},
		{"beta below 0", func(c *Config) { c.Settings = setting.Values{"beta": -1} }, "--beta is -1; expected above 0"},
		{"gamma", func(c *Config) { c.Settings = setting.Values{"gamma": 1} },
			"--gamma is given, and method dpo does not read it"},
		{"smoothing", func(c *Config) { c.Settings = setting.Values{"label-smoothing": 0.5} },
			"--label-smoothing is 0.5"},
		{"a reference for a method without", func(c *Config) { c.Method, c.RefAdapter = "orpo", "a.gguf" },
			"--ref-adapter is given with --method orpo"},
		{"ranked pairs", func(c *Config) { c.RankedPairs = "some" },
			"--ranked-pairs is some; expected all or best-worst"},
		{"ranked rows", func(c *Config) { c.RankedRows = "some" }, "--ranked-rows is some; expected list or pair"},
		{"ranked pairs of plain data", func(c *Config) { c.Method, c.RankedPairs = "sft", "best-worst" },
			"does not learn from preferences"},
		{"mask", func(c *Config) { c.Mask = "all" }, "--mask is all with --method dpo"},
		{"a rank beside an adapter", func(c *Config) { c.InitAdapter, c.Rank = "a.gguf", 8 },
			"--rank is given with --init-adapter"},
		{"loftq from nothing", func(c *Config) { c.Init = "loftq" }, "--from is missing with --init loftq"},
		{"an original for no use", func(c *Config) { c.Init, c.From = "pissa", "f16.gguf" },
			"--from is given with --init pissa"},
		{"a tied start from weights", func(c *Config) { c.Init, c.Mergeable = "olora", true },
			"--mergeable is given with --init olora"},
		{"an invocation where all is trained on", func(c *Config) { c.Method, c.ALoRA = "cpt", "x" },
			"--alora is given, and every token is trained on"},
		{"an invocation of no adapter", func(c *Config) { c.Tune, c.ALoRA = "full", "x" },
			"--alora is given with --tune full"},
		{"an unknown start", func(c *Config) { c.Init = "pisa" }, "pissa"},
		{"weights", func(c *Config) { c.Method, c.LossWeights = "dpo,sft", []float64{1} }, "1 weights for 2 methods"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := validConfig()
			c.Method = "dpo"
			tc.change(&c)
			var ce *Error
			if err := c.Validate(); !errors.As(err, &ce) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestParseLayers(t *testing.T) {
	for _, tc := range []struct {
		s    string
		want []int
		err  string
	}{
		{"", nil, ""}, {"0-2, 5", []int{0, 1, 2, 5}, ""}, {"-1", []int{5}, ""}, {"-2--1,0", []int{0, 4, 5}, ""},
		{"4--1", []int{4, 5}, ""}, {"1,1-2", []int{1, 2}, ""},
		{"6", nil, "outside"}, {"-7", nil, "outside"}, {"3-1", nil, "no layer"}, {"1,,2", nil, "no layer"},
		{"a", nil, "no layer"}, {"-", nil, "no layer"},
	} {
		got, err := parseLayers(tc.s, 6)
		if !slices.Equal(got, tc.want) || (err == nil) != (tc.err == "") || err != nil &&
			!strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: got %v, %v; want %v, %q", tc.s, got, err, tc.want, tc.err)
		}
	}
}

// TestBefore: a run that is older than an option goes on as it began.
func TestBefore(t *testing.T) {
	old := Before()
	if _, err := old.ParseTOML("model = \"m.gguf\"\n", "run.toml"); err != nil {
		t.Fatal(err)
	}
	if !old.PlainControl() {
		t.Errorf("control tokens: got %q, want plain", old.ControlTokens)
	}
	if old.EvalShare != 1 {
		t.Errorf("evaluations take %g of the time at most, want no limit", old.EvalShare)
	}
	now := Default()
	text, err := now.TOML()
	if err != nil {
		t.Fatal(err)
	}
	read := Before()
	if _, err := read.ParseTOML(string(text), "run.toml"); err != nil || read.PlainControl() ||
		read.EvalShare != now.EvalShare {
		t.Errorf("a run of now: got %q, %g, %v, want tokens, %g", read.ControlTokens, read.EvalShare, err,
			now.EvalShare)
	}
}
