package origin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/method"
	"github.com/ggtune/ggtune/finetune/template"
)

// A fact is one thing that an adapter says.
type fact struct {
	key string // under prefix
	// of is what a run has to say; false: nothing.
	of func(r *Run) (text string, ok bool)
	// before is what an adapter of ours means that is older than the fact; "": nothing.
	before string
	// take sets what follows from it for who uses the adapter; nil: no setting does.
	take func(t *taking, text string)
	// differs warns where u is otherwise, "" if all is well or not known; nil: there is nothing to warn of.
	differs func(o *Origin, text string, u Use) string
}

// A taking is TakeDefaults at work.
type taking struct {
	cfg    *config.Config
	origin *Origin
	given  func(option string) bool
	notes  []string
}

// Keys that more than one function names.
const (
	base         = "base_sha256"
	templateName = "template"
	methodName   = "method"
	unfinished   = "unfinished"
	learned      = "learned_settings"

	pooling        = "pooling"
	queryPrefix    = "query_prefix"
	documentPrefix = "document_prefix"
)

// facts is the table. What is taken is taken in this order: what some settings mean depends on the method.
var facts = []fact{
	{key: "version", of: func(r *Run) (string, bool) { return r.Version, true }},
	{key: base, of: func(r *Run) (string, bool) { return r.BaseSHA256, true }, differs: otherBase},
	{key: methodName, of: func(r *Run) (string, bool) { return r.Method.Name, true }, take: option(methodName).take},
	// A method that compares answers has no use for the mask of one that trained on turns.
	writes("mask").takenIf((*taking).learnsAnswers),
	option("on-long"),
	writes("text-split"),
	writes("ranked-pairs").saidIf(func(r *Run) bool { return r.Method.Need != method.Answers }),
	option("seq-len"),
	writes("control-tokens").meantBefore(config.Before().ControlTokens),
	writes("task-examples"),
	writes("drop-reasoning"),
	writes("task-chat"),
	// Settings of another method would say nothing.
	{key: "method_settings", of: settings, take: takeSettings},
	{key: learned, of: func(r *Run) (string, bool) { return asJSON(r.Learned), len(r.Learned) > 0 }},
	option("loss-weights").takenIf((*taking).sameMethod),
	rolled("reward"),
	// The weights of programs are among them, which nobody but the user names.
	rolled("reward-weights").takenIf(func(t *taking) bool {
		return !t.given("reward") && !t.given("reward-cmd") && !t.given("env-cmd")
	}),
	rolled("max-turns").takenIf(func(t *taking) bool { return t.given("env-cmd") }),
	rolled("reward-column"),
	rolled("max-completion-length"),
	rolled("temperature"),
	rolled("lmbda").saidIf(func(r *Run) bool { return !r.Method.Rewarded() }),
	{key: "columns", of: option("columns").of, take: takeColumns},
	{key: templateName, of: ofTemplate((*template.Template).Name), take: takeTemplate},
	{key: "template_sha256", of: ofTemplate((*template.Template).SHA256), differs: otherTemplate},
	{key: unfinished, of: func(r *Run) (string, bool) { return r.Unfinished, r.Unfinished != "" }},
	{key: "reference_sha256", of: func(r *Run) (string, bool) { return r.Reference, r.Method.Reference },
		differs: otherReference},
	{key: "teacher_sha256", of: func(r *Run) (string, bool) {
		return r.Teacher, r.Method.Teacher || r.Method.Other != method.NoOther
	}, differs: otherTeacher},
	// What the run made of "auto": the file of another model may say another.
	vectors("pooling").says(func(r *Run) string { return r.Pooling.String() }),
	vectors("query-prefix").saidIf(func(r *Run) bool { return r.Config.QueryPrefix != "" }),
	vectors("document-prefix").saidIf(func(r *Run) bool { return r.Config.DocumentPrefix != "" }),
	vectors("step-examples"),
	vectors("matryoshka"),
	option("teacher-top").saidIf(func(r *Run) bool { return r.Method.Teacher }),
}

// option is the fact of what an option was. Its key is that of the settings file.
func option(name string) fact {
	return fact{
		key:  strings.ReplaceAll(name, "-", "_"),
		of:   func(r *Run) (string, bool) { return write(field(r.Config, name)) },
		take: func(t *taking, text string) { t.option(name, text) },
	}
}

// rolled is option of runs whose model learned from its own answers, and of measuring such answers.
func rolled(name string) fact {
	return option(name).saidIf(func(r *Run) bool { return r.Method.Need == method.Rollouts }).takenIf(
		func(t *taking) bool {
			how, err := method.New(t.cfg.Method, nil, nil)
			return err == nil && how.Need == method.Rollouts
		})
}

// writes is option of runs whose model writes, or reads what others wrote, and makes no vectors.
func writes(name string) fact {
	return option(name).saidIf(func(r *Run) bool { return !r.Method.Need.Pools() })
}

// vectors is option of runs whose model makes vectors of texts.
func vectors(name string) fact {
	return option(name).saidIf(func(r *Run) bool { return r.Method.Need.Pools() }).takenIf(func(t *taking) bool {
		how, err := method.New(t.cfg.Method, nil, nil)
		return err == nil && how.Need.Pools()
	})
}

// says has f say something else of a run than what the option was.
func (f fact) says(what func(r *Run) string) fact {
	of := f.of
	f.of = func(r *Run) (string, bool) {
		_, said := of(r)
		return what(r), said
	}
	return f
}

func (f fact) meantBefore(text string) fact {
	f.before = text
	return f
}

// saidIf limits f to runs that it says something of.
func (f fact) saidIf(ok func(r *Run) bool) fact {
	of := f.of
	f.of = func(r *Run) (string, bool) {
		text, said := of(r)
		return text, said && ok(r)
	}
	return f
}

// takenIf limits f to uses that it has a meaning for.
func (f fact) takenIf(ok func(t *taking) bool) fact {
	take := f.take
	f.take = func(t *taking, text string) {
		if ok(t) {
			take(t, text)
		}
	}
	return f
}

// option sets an option that the user did not choose, and says whether it did: a stranger's text may be no value.
func (t *taking) option(name, text string) bool {
	return !t.given(name) && read(text, field(t.cfg, name))
}

// learnsAnswers says whether the method learns from answers, and compares none.
func (t *taking) learnsAnswers() bool {
	how, err := method.New(t.cfg.Method, nil, nil)
	return err == nil && how.Need == method.Answers
}

// sameMethod says whether the method is the adapter's own.
func (t *taking) sameMethod() bool { return t.cfg.Method == t.origin.Info[methodName] }

// field points to the field of an option.
func field(c *config.Config, option string) any {
	for _, o := range c.Options() {
		if o.Name == option {
			return o.Value
		}
	}
	panic("origin: there is no option " + option)
}

// write spells an option's value; an empty list says nothing.
func write(field any) (text string, ok bool) {
	switch v := field.(type) {
	case *string:
		return *v, true
	case *int:
		return strconv.Itoa(*v), true
	case *float64:
		return strconv.FormatFloat(*v, 'g', -1, 64), true
	case *bool:
		return strconv.FormatBool(*v), true
	case *[]string:
		return asJSON(*v), len(*v) > 0
	case *[]float64:
		return asJSON(*v), len(*v) > 0
	}
	panic(fmt.Sprintf("origin: an option is a %T", field))
}

// read is write backwards: it sets the field and says whether the text is a value.
func read(text string, field any) bool {
	switch v := field.(type) {
	case *string:
		if text == "" {
			return false
		}
		*v = text
		return true
	case *int:
		return set(v)(strconv.Atoi(text))
	case *float64:
		return set(v)(strconv.ParseFloat(text, 64))
	case *bool:
		return set(v)(strconv.ParseBool(text))
	case *[]string:
		return list(v, text)
	case *[]float64:
		return list(v, text)
	}
	panic(fmt.Sprintf("origin: an option is a %T", field))
}

func set[T any](field *T) func(T, error) bool {
	return func(v T, err error) bool {
		if err == nil {
			*field = v
		}
		return err == nil
	}
}

func list[T any](field *[]T, text string) bool {
	var v []T
	if err := json.Unmarshal([]byte(text), &v); err != nil || len(v) == 0 {
		return false
	}
	*field = v
	return true
}

// asJSON is for values that Validate has seen: lists, and numbers that are finite.
func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("origin: %v as JSON: %v", v, err))
	}
	return string(text)
}

// settings are the method's: numbers, and of choices their words.
func settings(r *Run) (string, bool) {
	set := map[string]any{}
	for name, x := range r.Method.Settings() {
		set[name] = x
	}
	for _, s := range method.Readers().Settings() {
		if x, has := set[s.Name]; has && s.Words != nil {
			set[s.Name] = s.Text(x.(float64))
		}
	}
	return asJSON(set), len(set) > 0
}

// takeSettings takes in the place of a setting what was learned.
func takeSettings(t *taking, text string) {
	var set map[string]any
	if err := json.Unmarshal([]byte(text), &set); err != nil || set == nil || !t.sameMethod() {
		return
	}
	var own map[string]float64
	if json.Unmarshal([]byte(t.origin.Info[learned]), &own) == nil {
		for name, x := range own {
			set[name] = x
		}
	}
	for _, s := range method.Readers().Settings() {
		if t.given(s.Name) {
			continue
		}
		switch x := set[s.Name].(type) {
		case float64: // of choices too, in files that are older than words
			t.cfg.Settings.Set(s.Name, x)
		case string:
			if v, err := s.Parse(x); err == nil && s.Words != nil {
				t.cfg.Settings.Set(s.Name, v)
			}
		}
	}
}

func takeColumns(t *taking, text string) {
	if t.option("columns", text) {
		t.note("the adapter was trained on data with --columns %s, and the data here is read so too; --columns "+
			"gives other names", strings.Join(t.cfg.Columns, ", "))
	}
}

func ofTemplate(what func(*template.Template) string) func(r *Run) (string, bool) {
	return func(r *Run) (string, bool) {
		if r.Template == nil {
			return "", false
		}
		return what(r.Template), true
	}
}

// takeTemplate takes a built-in template by its name. One of the model's own is found there again. A file's name in a
// stranger's adapter is not opened: the hash will tell whether the model's own will do.
func takeTemplate(t *taking, name string) {
	switch {
	case name == "" || t.given("template") || template.IsModelsOwn(name):
	case t.origin.Template() != "":
		t.cfg.Template = name
	default:
		t.note("the adapter was trained with chat template %s; give it with --template if the data holds "+
			"conversations", name)
	}
}

func (t *taking) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func otherBase(o *Origin, want string, u Use) string {
	if want == "" || u.ModelSHA256 == "" || want == u.ModelSHA256 {
		return ""
	}
	return fmt.Sprintf("%s was trained on another base (sha256 %.12s…) than %s (%.12s…): its effect here is not "+
		"what was trained", o.Adapter, want, u.Model, u.ModelSHA256)
}

func otherTemplate(o *Origin, want string, u Use) string {
	if want == "" || u.Template == nil || want == u.Template.SHA256() {
		return ""
	}
	return fmt.Sprintf("%s was trained with chat template %q; %q, in use here, is another one (--template names one)",
		o.Adapter, o.Info[templateName], u.Template.Name())
}

func otherReference(o *Origin, want string, u Use) string {
	if u.Reference == nil || want == *u.Reference {
		return ""
	}
	return fmt.Sprintf("%s was trained against %s, and is compared with %s here; --ref-adapter names another",
		o.Adapter, ReferenceName(want), ReferenceName(*u.Reference))
}

// otherTeacher warns of vectors that others are held against than in training.
func otherTeacher(o *Origin, want string, u Use) string {
	how, err := method.Get(o.Info[methodName])
	if err != nil || how.Other == method.NoOther || u.Reference == nil || want == u.Teacher {
		return ""
	}
	name := func(sum string) string {
		if sum == "" {
			return "no other embedder"
		}
		return fmt.Sprintf("another embedder (sha256 %.12s…)", sum)
	}
	return fmt.Sprintf("%s learned from %s, and %s is asked here: the loss is another one", o.Adapter, name(want),
		name(u.Teacher))
}

// ReferenceName says which reference has an adapter with that hash.
func ReferenceName(adapterSHA256 string) string {
	if adapterSHA256 == "" {
		return "the base alone"
	}
	return fmt.Sprintf("the base with an adapter (sha256 %.12s…)", adapterSHA256)
}
