package rl

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/ggtune/ggtune/finetune/checkpoint"
	"github.com/ggtune/ggtune/internal/atomicfile"
)

// kind tells a rollout's file from others of the form, which is a checkpoint's.
const kind = "rollout"

// fileName matches the name of a rollout's file: its number, and the updates before its first.
var fileName = regexp.MustCompile(`^rollout-([0-9]{8,18})-step-([0-9]{8,18})\.bin$`)

func (s *Source) path(number, step int) string {
	return filepath.Join(s.Dir, fmt.Sprintf("rollout-%08d-step-%08d.bin", number, step))
}

// fingerprint is the hash of the prompts' tokens.
func (r *rolled) fingerprint() string {
	h := sha256.New()
	for _, p := range r.prompts {
		for _, n := range append([]int32{int32(len(p.tokens))}, p.tokens...) {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], uint32(n))
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// tensors lists the numbers of all tokens, one after the other, and what puts them among the answers.
func (s *Source) tensors(r *rolled) (list []checkpoint.Tensor, spread func()) {
	fields := []struct {
		name string
		has  bool
		of   func(a *answer) *[]float32
	}{
		{"sampled", true, func(a *answer) *[]float32 { return &a.sampled }},
		{"old", r.Read, func(a *answer) *[]float32 { return &a.old }},
		{"ref", r.Read && s.Method.Reference, func(a *answer) *[]float32 { return &a.ref }},
		{"value", r.Read && s.Method.Value != 0, func(a *answer) *[]float32 { return &a.value }},
	}
	n := 0
	for i := range r.Answers {
		n += r.Answers[i].written()
	}
	var all [][]float32
	for _, f := range fields {
		v := make([]float32, 0, n)
		for i := range r.Answers {
			v = append(v, *f.of(&r.Answers[i])...)
		}
		v = v[:n]
		if !f.has {
			v = v[:0]
		}
		list, all = append(list, checkpoint.Floats(f.name, v)), append(all, v)
	}
	return list, func() {
		for k, f := range fields {
			if !f.has {
				continue
			}
			at := 0
			for i := range r.Answers {
				end := at + r.Answers[i].written()
				*f.of(&r.Answers[i]) = all[k][at:end:end]
				at = end
			}
		}
	}
}

// save keeps a rollout: what was asked for, and once it is read, all that is learned from it.
func (s *Source) save(r *rolled) error {
	if err := os.Mkdir(s.Dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep the rollout: %w", err)
	}
	list, _ := s.tensors(r)
	return checkpoint.WriteFile(nil, s.path(r.Number, s.at.Step), r, list)
}

// load fills a rollout from its file, as far as there is a whole one.
func (s *Source) load(r *rolled) error {
	name := s.path(r.Number, s.at.Step)
	f, err := checkpoint.OpenFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, checkpoint.ErrDamaged):
		return nil // it is made again, or missed
	case err != nil:
		return err
	}
	defer f.Close()
	var k rolled
	if err := f.Meta(&k); err != nil {
		return err
	}
	wrong := func(what string, args ...any) error {
		return fmt.Errorf("%s is not of this run: %s; move it away, or begin a new run", name,
			fmt.Sprintf(what, args...))
	}
	switch {
	case k.Kind != kind || k.Number != r.Number:
		return wrong("it holds %s %d", strconv.Quote(k.Kind), k.Number)
	case k.Prompts != r.Prompts:
		return wrong("its prompts are others")
	case len(k.Answers) != s.Generations*len(r.prompts):
		return wrong("%d answers to %d prompts", len(k.Answers), len(r.prompts))
	}
	for i := range k.Answers {
		a := &k.Answers[i]
		if len(a.Tokens) == 0 || len(a.Tokens) > s.MaxTokens || len(a.Rewards) != len(figureNames(s.Rewards)) {
			return wrong("answer %d has %d tokens and %d rewards", i, len(a.Tokens), len(a.Rewards))
		}
		if (a.Turns != nil) != (s.Exchanges != nil) || a.Turns != nil && !a.whole() {
			return wrong("answer %d has turns that do not make its tokens, or none where an environment answers", i)
		}
	}
	if opened := len(k.Opened); opened != 0 && s.Exchanges == nil || s.Exchanges != nil && opened != len(r.prompts) {
		return wrong("an environment has opened %d of %d prompts", opened, len(r.prompts))
	}
	for i, o := range k.Opened {
		r.prompts[i].tokens, r.prompts[i].said = o.Tokens, o.Said
	}
	r.Opened, r.Answers, r.Read, r.Entropy = k.Opened, k.Answers, k.Read, k.Entropy
	list, spread := s.tensors(r)
	if err := f.Read(list); err != nil {
		return err
	}
	spread()
	return nil
}

// Forget removes the rollouts that no run needs which goes on from a step or later.
func (s *Source) Forget(step int) error {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove old rollouts: %w", err)
	}
	began := map[string]int{}
	last := 0 // the step at which the rollout began that step lies in
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if at, err := strconv.Atoi(m[2]); err == nil {
			began[e.Name()] = at
			if at <= step {
				last = max(last, at)
			}
		}
	}
	var errs []error
	for name, at := range began {
		if at < last {
			errs = append(errs, os.Remove(filepath.Join(s.Dir, name)))
		}
	}
	_, err = atomicfile.Sweep(atomicfile.OS, s.Dir)
	return errors.Join(append(errs, err)...)
}
