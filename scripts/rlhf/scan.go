package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// The task is SCAN (Lake & Baroni 2018), as task128 of Natural Instructions has it: "jump left twice" is "left jump
// left jump". The actions are written as words (the data has I_TURN_LEFT, six tokens of SmolLM2), and only commands of
// at most longest actions are taken: an update then takes seconds. A model learns some of it from a few right answers,
// and goes on with rewards for its own answers to other commands.
const (
	longest = 10  // actions of a command
	taught  = 150 // commands with their answers
	held    = 200 // commands that are measured on
	others  = 437 // commands whose answers are rewarded: all that are left
	samples = 8   // answers to each command that is measured on
	most    = 16  // tokens of an answer
)

// scan's arms cost about the same after the start, in processor time, but for what a table shows.
var scan = plan{name: "scan", prepare: (*options).prepareScan, measure: (*options).measureScan,
	figures: []string{"pass@1", "pass@8"}, arms: []arm{
		{name: "start", data: taughtFile, args: []string{"--epochs", "5", "--lr", "5e-4"}},
		{name: "grpo", from: "start", data: othersFile, repeated: true, args: steady("grpo", "--rollout-prompts", "16",
			"--steps", "30")},
		{name: "rloo", from: "start", data: othersFile, args: steady("rloo", "--rollout-prompts", "16",
			"--num-generations", "8", "--steps", "30")},
		{name: "ppo", from: "start", data: othersFile, args: steady("ppo", "--rollout-prompts", "64",
			"--num-iterations", "2", "--steps", "28")},
		// All answers are written before any is learned.
		{name: "best-of-n", from: "start", data: othersFile, args: checked("--method", "best-of-n", "--rollout-prompts",
			fmt.Sprint(others), "--num-mini-batches", "55", "--num-iterations", "2")},
		{name: "more sft", from: "start", data: taughtFile, args: []string{"--epochs", "8", "--lr", "5e-4",
			"--batch", "4", "--accum", "1"}},
	}}

// checked are the arguments of those that learn from their own answers to the other commands, and not from given ones.
func checked(more ...string) []string {
	return append([]string{"--reward", "exact", "--max-completion-length", strconv.Itoa(most), "--batch", "4"}, more...)
}

// steady are the arguments of a method that makes few updates, at one rate.
func steady(method string, more ...string) []string {
	return checked(append([]string{"--method", method, "--lr", "5e-5", "--schedule", "constant", "--warmup", "0"},
		more...)...)
}

// A command is a row of the task.
type command struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

// The files that prepare writes.
const (
	taughtFile = "taught.jsonl"
	heldFile   = "held.jsonl"
	othersFile = "others.jsonl"
)

// prepareScan shares the commands out, for all arms and seeds alike.
func (o *options) prepareScan() error {
	text, err := os.ReadFile(o.data)
	if err != nil {
		return err
	}
	var task struct {
		Instances []struct {
			Input  string
			Output []string
		}
	}
	if err := json.Unmarshal(text, &task); err != nil {
		return fmt.Errorf("%s: %w", o.data, err)
	}
	actions := strings.NewReplacer("I_TURN_", "", "I_", "")
	var all []command
	for _, i := range rand.New(rand.NewPCG(1, 0)).Perm(len(task.Instances)) {
		x := task.Instances[i]
		if len(x.Output) == 0 {
			return fmt.Errorf("%s: instance %d has no output", o.data, i)
		}
		said := strings.ToLower(actions.Replace(x.Output[0]))
		if len(strings.Fields(said)) <= longest {
			all = append(all, command{"Command: " + x.Input + "\nActions:", " " + said})
		}
	}
	if len(all) < taught+held+others {
		return fmt.Errorf("%s has %d commands of at most %d actions, expected %d", o.data, len(all), longest,
			taught+held+others)
	}
	for _, part := range []struct {
		file string
		rows int
	}{{taughtFile, taught}, {heldFile, held}, {othersFile, others}} {
		if err := write(o.file(part.file), all[:part.rows]); err != nil {
			return err
		}
		all = all[part.rows:]
	}
	return nil
}

// measureScan has a run answer the held-out commands.
func (o *options) measureScan(ctx context.Context, _ arm, run string, r *result) error {
	e, err := o.answers(ctx, run, heldFile, samples, most, "--reward", "exact")
	if err != nil {
		return err
	}
	return r.take(e, o.study.figures...)
}
