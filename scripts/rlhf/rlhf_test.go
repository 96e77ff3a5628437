package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/internal/study"
)

// pretending, in the environment, makes the test's own program take the place of ggtune: it trains nothing, and fails
// at rloo.
const pretending = "RLHF_TEST_PRETENDS"

func TestMain(m *testing.M) {
	if os.Getenv(pretending) == "" {
		os.Exit(m.Run())
	}
	if err := pretend(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pretend(command string, args []string) error {
	value := func(name string) string {
		if i := slices.Index(args, name); i >= 0 {
			return args[i+1]
		}
		return ""
	}
	switch command {
	case "train":
		if value("--method") == "rloo" {
			return errors.New("no answer is better than another")
		}
		return pretendRun(value("-o"), args)
	case "score":
		rows, err := study.Read[map[string]any](value("-d"))
		for _, r := range rows {
			if r["completion"] != "" { // as ggtune leaves out what is no data
				fmt.Println(`{"score":0.5}`)
			}
		}
		return err
	}
	rows, err := study.Read[map[string]any](value("-d"))
	if err != nil {
		return err
	}
	switch loss := 1; {
	case value("--method") == "sft": // of three tokens an answer
		if strings.HasSuffix(value("-a"), "start-1") {
			loss = 2
		}
		fmt.Printf(`{"loss":%d,"counted_tokens":%d,"data":{"items":%d}}`, loss, 3*len(rows), len(rows))
		return nil
	case value("--reward") == "":
		fmt.Println(`{"scores":{"prompts":9,"accuracy":{"value":0.75,"interval":[0.7,0.8]}}}`)
		return nil
	}
	each, err := strconv.Atoi(value("--num-generations"))
	if err != nil {
		return err
	}
	if record := value("--reward-cmd"); record != "" {
		var answers []answer
		for i := range each * len(rows) {
			answers = append(answers, answer{Prompt: fmt.Sprint(i / each), Answer: " so it", Ended: true})
		}
		if each > 1 {
			answers[1].Answer = ""
		}
		if err := write(strings.Split(record, "'")[1], answers); err != nil {
			return err
		}
	}
	fmt.Printf(`{"prompts":%d,"answers":%d,"pass@1":0.5,"pass@1_interval":[0.4,0.6],"pass@8":1,`+
		`"pass@8_interval":[0.9,1],"reward_model":0.5,"reward_model_interval":[0.4,0.6],"reward_model_2":0.25,`+
		`"reward_model_2_interval":[0.2,0.3]}`, len(rows), each*len(rows))
	return nil
}

// pretendRun writes a run that says how it was asked for.
func pretendRun(run string, args []string) error {
	if !slices.Contains(args, "--resume") {
		if err := os.Mkdir(run, 0o777); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"adapter.gguf": strings.Join(args, " ") + "\n",
		"report.json":  `{"peak_bytes":5000000,"steps":7}`,
		"metrics.jsonl": `{"step":1,"reward_model":1,"reward_model_2":0.25,"answer_kl":0.5}` + "\n" +
			`{"step":2,"reward_model":1.5,"reward_model_2":0.5,"answer_kl":4}` + "\n" + `{"step":3,"loss":1}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(run, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// prepared are the options of a study over data like the real.
func prepared(t *testing.T) *options {
	t.Helper()
	dir := t.TempDir()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(pretending, "1")
	var instances []map[string]any
	for i := range 1000 {
		instances = append(instances, map[string]any{"input": fmt.Sprint("jump ", i), "output": []string{
			strings.TrimSpace(strings.Repeat(" I_TURN_LEFT I_JUMP", 1+i%6))}})
	}
	text, err := json.Marshal(map[string]any{"Instances": instances})
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "task.json")
	if err := os.WriteFile(data, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return &options{Options: study.Options{Ggtune: own, Out: filepath.Join(dir, "o.jsonl"), Seeds: 2, Threads: 1},
		study: &scan, data: data, model: "m.gguf", work: filepath.Join(dir, "work")}
}

// TestStudy: an arm begins with what it names, and learns from what it is to; what is repeated has every seed; what is
// done is not done again; a failure is a result; and the figures are those of eval and of the run.
func TestStudy(t *testing.T) {
	o := prepared(t)
	var all []result
	for range 2 { // the second time there is nothing left to do: Mkdir would fail
		if err := o.run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	all, err := study.Read[result](o.Out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range all {
		names = append(names, fmt.Sprint(r.Arm, " ", r.Seed))
		if r.Arm == "rloo" {
			if !strings.Contains(r.Failed, "no answer is better") {
				t.Errorf("a run that failed: got %q", r.Failed)
			}
			continue
		}
		if f := r.Figures; f["pass@1"] != (share{0.5, [2]float64{0.4, 0.6}}) || f["pass@8"].Value != 1 ||
			r.Prompts != held || r.Answers != held*samples || r.Cost.Steps != 7 || r.Cost.CPU <= 0 || r.Failed != "" {
			t.Errorf("%s: %+v", r.Arm, r)
		}
	}
	want := []string{"start 1", "grpo 1", "rloo 1", "ppo 1", "best-of-n 1", "more sft 1", "grpo 2"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	for run, data := range map[string]string{"grpo-2": othersFile, "more sft-1": taughtFile} {
		said, err := os.ReadFile(filepath.Join(o.work, run, "adapter.gguf"))
		if err != nil || !strings.Contains(string(said), "--init-adapter "+filepath.Join(o.work, "start-1")) ||
			!strings.Contains(string(said), "-d "+filepath.Join(o.work, data)) {
			t.Errorf("%s was trained with %q, %v", run, said, err)
		}
	}
	var b strings.Builder
	printTable(&b, scan.figures, all)
	for _, part := range []string{"| `grpo` | 2 | 7 |", "| 5 | 0.500 (0.400–0.600) | 1.000 (0.900–1.000) |",
		"| `rloo` | 1 | failed: "} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("the table lacks %q:\n%s", part, &b)
		}
	}
}

// TestGoesOn: a run that was stopped goes on from its checkpoint, and what it took is not said; one that has none
// begins anew.
func TestGoesOn(t *testing.T) {
	o := prepared(t)
	o.Seeds, o.only = 1, "grpo"
	start, grpo := o.runOf("start", 1), o.runOf("grpo", 1)
	for _, dir := range []string{filepath.Join(start, "checkpoints", "step-00000004.tmp"),
		filepath.Join(grpo, "checkpoints", "step-00000004")} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for run, want := range map[string]string{
		grpo:  "train -o " + grpo + " --threads 1 --resume\n",
		start: "train -o " + start + " --threads 1 -m m.gguf",
	} {
		said, err := os.ReadFile(filepath.Join(run, "adapter.gguf"))
		if err != nil || !strings.HasPrefix("train "+string(said), want) {
			t.Errorf("%s was trained with %q, %v, want %q", run, said, err, want)
		}
	}
	all, err := study.Read[result](o.Out)
	if err != nil || len(all) != 1 || all[0].Cost.CPU != 0 || all[0].Cost.Steps != 7 {
		t.Fatalf("got %+v, %v", all, err)
	}
	var b strings.Builder
	printTable(&b, scan.figures, all)
	if want := "| `grpo` | 1 | 7 | not taken | 5 |"; !strings.Contains(b.String(), want) {
		t.Errorf("the table lacks %q:\n%s", want, &b)
	}
}

// TestPrepare: no command is in two files, their answers are words, and what there is too little of is said.
func TestPrepare(t *testing.T) {
	o := prepared(t)
	o.only = "start"
	if err := o.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for file, n := range map[string]int{taughtFile: taught, heldFile: held, othersFile: others} {
		rows, err := study.Read[command](o.file(file))
		if err != nil || len(rows) != n {
			t.Errorf("%s: %d commands, %v", file, len(rows), err)
		}
		for _, c := range rows {
			if seen[c.Prompt] || !strings.HasPrefix(c.Completion, " left jump") ||
				len(strings.Fields(c.Completion)) > longest {
				t.Errorf("%s: %+v", file, c)
			}
			seen[c.Prompt] = true
		}
	}
	few := filepath.Join(t.TempDir(), "few.json")
	if err := os.WriteFile(few, []byte(`{"Instances":[{"Input":"jump","Output":["I_JUMP"]}]}`), 0o666); err != nil {
		t.Fatal(err)
	}
	o.data = few
	if err := o.run(context.Background()); err == nil || !strings.Contains(err.Error(), "has 1 commands") {
		t.Errorf("too few commands: got %v", err)
	}
}
