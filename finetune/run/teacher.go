package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/corpus"
	"github.com/ggtune/ggtune/finetune/encode"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/report"
	"github.com/ggtune/ggtune/finetune/teacher"
)

// A taught dataset is one whose counted tokens a teacher has spoken on. It is not safe for concurrent use.
type taught struct {
	file *teacher.File
	top  int
	base int // number of its first item in the file
	of   *encode.Dataset
}

// teach adds to what a teacher says.
func teach(to *encode.Teaching, p teacher.Prediction) {
	to.Tokens = append(to.Tokens, p.Tokens...)
	for at := 0; at < len(p.LogP); at += to.Top {
		left := 1.0
		for _, lp := range p.LogP[at : at+to.Top] {
			to.LogP = append(to.LogP, float64(lp))
			left -= math.Exp(float64(lp))
		}
		to.LogP = append(to.LogP, math.Log(max(left, 0)))
	}
}

// said gives what the teacher says of m.
func (t *taught) said(m *encode.Micro) (*encode.Teaching, error) {
	out := &encode.Teaching{Top: t.top}
	for _, s := range m.Sequences { // an answer's item is one sequence
		p, ok, err := t.file.Read(t.base + s.Example)
		if err != nil {
			return nil, err
		}
		if !ok || len(p.Tokens) != t.top*s.Len {
			return nil, fmt.Errorf("what the teacher says of %s is missing", t.of.Items[s.Example].Source)
		}
		teach(out, p)
	}
	return out, nil
}

// known says whether the teacher has spoken on all of m.
func (t *taught) known(m *encode.Micro) (bool, error) {
	for _, s := range m.Sequences {
		if _, ok, err := t.file.Read(t.base + s.Example); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// A teacherModel is the teacher at work. Of given rows it is opened for the first that nothing is known of, and closed
// before training takes its memory; of what the student writes it stays and is asked of each micro-batch.
type teacherModel struct {
	model *engine.Model
	cfg   *config.Config
	sess  *engine.Session // nil until a row is asked for
}

// openTeacher opens the teacher of cfg, which must have the tokens of the model.
func openTeacher(m *engine.Model, cfg *config.Config) (*teacherModel, error) {
	t := &teacherModel{cfg: cfg}
	var err error
	if t.model, err = engine.Open(cfg.Teacher); err != nil {
		return nil, fmt.Errorf("--teacher: %w", err)
	}
	if err := sameTokens(m, t.model); err != nil {
		return nil, errors.Join(fmt.Errorf("--teacher: %w", err), t.model.Close())
	}
	return t, nil
}

// sameTokens refuses two models of which a token does not mean the same.
func sameTokens(student, teacher *engine.Model) error {
	const mend = "a teacher predicts the student's own tokens: take one of the same family"
	if a, b := student.HParams().NVocab, teacher.HParams().NVocab; a != b {
		return fmt.Errorf("%s has %d tokens, and %s has %d; %s", student.Path(), a, teacher.Path(), b, mend)
	}
	const key = "tokenizer.ggml.tokens"
	a, err := student.File().Strings(key)
	if err != nil {
		return err
	}
	b, err := teacher.File().Strings(key)
	if err != nil {
		return err
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Errorf("token %d is %q in %s and %q in %s; %s", i, a[i], student.Path(), b[i], teacher.Path(),
				mend)
		}
	}
	if len(a) != len(b) {
		return fmt.Errorf("%s names %d tokens, and %s %d; %s", student.Path(), len(a), teacher.Path(), len(b), mend)
	}
	return nil
}

// asksTeacher is what a teacher's pass is asked for.
var asksTeacher = []*engine.Output{engine.LogP, engine.Top}

// says gives what the teacher says of m, at the temperature of the run.
func (t *teacherModel) says(m *encode.Micro) (*encode.Teaching, error) {
	out := &encode.Teaching{Top: t.cfg.Named(t.model.HParams().NVocab)}
	p, err := t.predict(context.Background(), m, out.Top, t.cfg.Temperature)
	if err == nil {
		teach(out, p)
	}
	return out, err
}

// predict asks the teacher: of each counted token for its top likeliest, at a temperature. Where the text's own token
// is not among them it takes the place of the last, so that the student's loss on the text is known too.
func (t *teacherModel) predict(ctx context.Context, m *encode.Micro, top int, temp float64) (
	teacher.Prediction, error) {
	if t.sess == nil {
		var err error
		sc := engine.SessionConfig{Threads: t.cfg.Threads, Exact: t.cfg.Exact, Seed: t.cfg.Seed}
		if t.sess, err = engine.NewSession(t.model, sc); err != nil {
			return teacher.Prediction{}, fmt.Errorf("--teacher: %w", err)
		}
	}
	out, err := t.sess.Forward(ctx, &m.Batch, engine.Options{Want: asksTeacher, Top: top, Temp: temp})
	if err != nil {
		return teacher.Prediction{}, fmt.Errorf("--teacher: %w", err)
	}
	var p teacher.Prediction
	n := 0
	for _, row := range m.Batch.Rows {
		for _, at := range row.Counted {
			said, own := out[engine.Top][2*top*n:2*top*(n+1)], row.Tokens[at]
			first := len(p.Tokens)
			for j, token := range said[:top] {
				p.Tokens, p.LogP = append(p.Tokens, int32(token)), append(p.LogP, said[top+j])
			}
			if !slices.Contains(p.Tokens[first:], own) {
				p.Tokens[len(p.Tokens)-1], p.LogP[len(p.LogP)-1] = own, out[engine.LogP][n]
			}
			n++
		}
	}
	if slices.ContainsFunc(p.LogP, func(x float32) bool { return x-x != 0 }) {
		return p, fmt.Errorf("the teacher's predictions for the examples at %s are %w; look at it with ggtune check "+
			"-m %s", encode.Places(m), finetune.ErrNotFinite, t.cfg.Teacher)
	}
	return p, nil
}

// Close frees the model and what was opened for it. It may be called on nil.
func (t *teacherModel) Close() error {
	if t == nil {
		return nil
	}
	var err error
	if t.sess != nil {
		err = t.sess.Close()
	}
	return errors.Join(err, t.model.Close())
}

// learn asks the teacher about what is missing of the first micro-batches of rows. What it says is on disk when the
// next is asked.
func (t *taught) learn(ctx context.Context, from *teacherModel, rows *encode.Loader, micros int,
	progress func(rows int)) error {
	done, c := 0, encode.Cursor{}
	for range min(micros, rows.Micros()) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, next, err := rows.Next(c)
		if err != nil {
			return err
		}
		known, err := t.known(m)
		if err != nil {
			return err
		}
		if !known {
			p, err := from.predict(context.WithoutCancel(ctx), m, t.top, 1)
			if err != nil {
				return err
			}
			for _, s := range m.Sequences {
				part := teacher.Prediction{Tokens: p.Tokens[s.Start*t.top : (s.Start+s.Len)*t.top],
					LogP: p.LogP[s.Start*t.top : (s.Start+s.Len)*t.top]}
				if err := t.file.Write(t.base+s.Example, part); err != nil {
					return err
				}
			}
		}
		done += len(m.Batch.Rows)
		progress(done)
		c = next
	}
	return nil
}

// A teacherKey is all that the teacher's predictions depend on.
type teacherKey struct {
	Teacher string `json:"teacher_sha256"`
	rowsKey
}

// lessons are those of a run's rows, nil where the method has no teacher.
type lessons struct {
	train, held *taught
	file        *teacher.File
	dir         string // a temporary one, or ""
}

// teach asks the teacher about the run's rows, as far as it has not been asked before, and lets go of it.
func (r *run) teach(ctx context.Context) (err error) {
	if !r.how.Teacher || r.rolls() {
		return nil
	}
	key := teacherKey{Teacher: r.meta.Teacher, rowsKey: r.rowsKey()}
	name := r.cfg.RefCache
	if name == "" {
		name = r.dir.file(fileTeacher)
	}
	top := r.cfg.Named(r.model.HParams().NVocab)
	if err := r.lessons.open(name, key, top, r.rows.Train, r.rows.Held, r.note); err != nil {
		return err
	}
	from, err := openTeacher(r.model, &r.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	reached, total := r.rows.Reached()
	before, trained := 0, total
	if r.lessons.held != nil {
		total += r.rows.HeldRows.Rows()
	}
	progress := func(rows int) { r.rep.Report(report.Progress{What: "teacher", Done: before + rows, Total: total}) }
	if err := r.lessons.train.learn(ctx, from, r.rows.TrainRows, reached, progress); err != nil {
		return err
	}
	if before = trained; r.lessons.held == nil {
		return nil
	}
	return r.lessons.held.learn(ctx, from, r.rows.HeldRows, r.rows.HeldRows.Micros(), progress)
}

// open opens the file of predictions for datasets, of which held may be nil.
func (l *lessons) open(name string, key teacherKey, top int, train, held *encode.Dataset,
	note func(format string, args ...any)) error {
	var counted []int
	add := func(d *encode.Dataset) *taught {
		if d == nil {
			return nil
		}
		t := &taught{top: top, base: len(counted), of: d}
		for i := range d.Items {
			counted = append(counted, d.Items[i].NumCounted())
		}
		return t
	}
	l.train, l.held = add(train), add(held)
	f, other, err := teacher.Open(name, key, top, counted)
	if errors.Is(err, teacher.ErrForeign) {
		return fmt.Errorf("--ref-cache: it keeps no predictions of a teacher, and is left as it is: %w; name another "+
			"file", err)
	}
	if err != nil {
		return err
	}
	if other != nil {
		note("%s keeps a teacher's predictions for %s; they are made anew, and replace it", name, key.changed(other))
	}
	l.file = f
	for _, t := range []*taught{l.train, l.held} {
		if t != nil {
			t.file = f
		}
	}
	return nil
}

// changed says what differs in another key.
func (k teacherKey) changed(text json.RawMessage) string {
	var other teacherKey
	switch {
	case json.Unmarshal(text, &other) != nil:
		return "something else"
	case k.Teacher != other.Teacher:
		return "another teacher"
	case k.Train != other.Train || k.Held != other.Held:
		return "other data or another chat template"
	case k == other:
		return "another number of tokens (--teacher-top)"
	}
	return "other settings of rows (packing, seq-len, seed, eval-rows or exact)"
}

// teachHeld asks the teacher about held-out rows; what it says lies in a temporary file until remove.
func teachHeld(ctx context.Context, m *engine.Model, cfg *config.Config, how *method.Method, held *corpus.Rows,
	progress func(rows int)) (l *lessons, err error) {
	l = &lessons{}
	if !how.Teacher {
		return l, nil
	}
	if l.dir, err = os.MkdirTemp("", "ggtune-teacher-"); err != nil {
		return l, fmt.Errorf("a place for the teacher's predictions: %w", err)
	}
	from, err := openTeacher(m, cfg)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	name, top := filepath.Join(l.dir, fileTeacher), cfg.Named(m.HParams().NVocab)
	if err := l.open(name, teacherKey{}, top, held.Held, nil, nil); err != nil {
		return l, err
	}
	return l, l.train.learn(ctx, from, held.HeldRows, held.HeldRows.Micros(), progress)
}

// close flushes the file.
func (l *lessons) close() error {
	err := l.file.Close()
	l.file = nil
	return err
}

// remove closes the file and takes it away with its temporary directory.
func (l *lessons) remove() error {
	err := l.close()
	if l.dir != "" {
		err = errors.Join(err, os.RemoveAll(l.dir))
	}
	return err
}
