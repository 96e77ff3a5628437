package corpus

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/encode"
	sft "github.com/ggtune/ggtune/finetune/method"
)

// formatRows has rows of every format that a record of its own holds, with what is awkward for one container or
// another: fields that some rows lack, fields in no alphabetical order, quotes, newlines, separators, numbers in texts.
var formatRows = map[string]struct {
	method string
	rows   []string
}{
	"messages": {"sft", []string{
		`{"messages": [{"role": "user", "content": "q, \"1\"\tx"}, ` +
			`{"role": "assistant", "content": "a\nb", "loss": false}, ` +
			`{"role": "assistant", "content": "c"}], "system": "s"}`,
		`{"messages": [{"role": "user", "content": "q"}, ` +
			`{"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": ` +
			`{"zone": "UTC", "day": 3}}}]}, {"role": "tool", "content": "7"}, ` +
			`{"role": "assistant", "content": "7"}], ` +
			`"tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": ` +
			`"object", "properties": {"zone": {"type": "string"}, "day": {"type": "integer"}}, ` +
			`"required": ["zone"]}}}, {"type": "function", "function": {"name": "g"}}]}`,
		`{"messages": [{"role": "user", "content": "q"}, ` +
			`{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "g", "arguments": {"other": ` +
			`true}}}]}, {"role": "assistant", "content": "x"}], "functions": [{"name": "g"}]}`}},
	"sharegpt": {"sft", []string{`{"conversations": [{"from": "human", "value": "q"}, ` +
		`{"from": "gpt", "value": "a"}], "system": "s", "tools": "[{\"name\": \"f\", \"a\": 1}]"}`,
		`{"conversations": [{"from": "human", "value": "\"q\""}, {"from": "gpt", "value": "a"}]}`}},
	"alpaca": {"sft",
		[]string{`{"instruction": "\"I\", he said", "input": "x\ny", "output": "o", "history": [["a", "b"], ["c", ` +
			`"d"]]}`, `{"instruction": "I", "input": "", "output": "4", "system": "s"}`}},
	"self-instruct": {"sft",
		[]string{`{"instruction": "I", "instances": [{"input": "x", "output": "o"}, {"input": "", "output": "p"}]}`,
			`{"instruction": "J", "instances": [{"input": "", "output": "p"}]}`}},
	"completion": {"sft",
		[]string{`{"prompt": "p \"x\"", "completion": " c"}`, `{"prompt": "", "completion": "\"c\",\td\r"}`}},
	"completion of messages": {"sft",
		[]string{`{"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": ` +
			`"a"}]}`}},
	"qa": {"sft",
		[]string{`{"question": "q", "answer": "a", "system_prompt": "s"}`,
			`{"question": "r", "answer": "b", "system_prompt": ""}`}},
	"text": {"sft", []string{`{"text": "one, \"two\"\n\nthree"}`, `{"text": "grün <&> \u2028"}`}},
	"preference": {"dpo",
		[]string{`{"prompt": "p", "chosen": " a", "rejected": " \"b\""}`,
			`{"prompt": "p\n", "chosen": "c", "rejected": "d"}`}},
	"preference of messages": {"dpo", []string{`{"prompt": [{"role": "user", "content": "q"}], "chosen": [{"role": ` +
		`"assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}], "tools": [{"zoo": 1, ` +
		`"name": "f"}]}`}},
	"implicit-preference": {"dpo", []string{`{"chosen": "the sky is blue", "rejected": "the sky is green"}`}},
	"alpaca-preference": {"dpo",
		[]string{`{"instruction": "i", "input": "x", "chosen": "a", "rejected": "b", "system": "s"}`}},
	"sharegpt-preference": {"dpo", []string{`{"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": ` +
		`"gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}`}},
	"messages-preference": {"dpo", []string{`{"chosen_messages": [{"role": "user", "content": "q"}, ` +
		`{"role": "assistant", "content": "a"}], "rejected_messages": [{"role": "user", "content": "q"}, ` +
		`{"role": "assistant", "content": "b"}]}`}},
	"hh": {"dpo",
		[]string{`{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}`}},
	"scored": {"dpo", []string{`{"instruction": "i", "completions": [{"response": "a", "overall_score": 2.5}, ` +
		`{"response": "b", "overall_score": 4}]}`, `{"instruction": "i", "completions": [{"response": "c", ` +
		`"overall_score": 1}, {"response": "d", "overall_score": 0.5}]}`}},
	"rated": {"dpo", []string{`{"prompt": [{"role": "user", "content": "q"}], "answers": [{"text": "x", "stop": ` +
		`"length"}, {"text": "y"}], "choice": "b"}`}},
	"rerank": {"rerank", []string{`{"query": "q, \"x\"", "document": "a\nb", "relevant": true}`,
		`{"query": "q", "document": "c", "relevant": false}`}},
	"rerank-lists": {"reward", []string{`{"query": "q", "positives": ["a", "b, c"], "negatives": ["d"]}`,
		`{"query": "r", "positives": ["a"], "negatives": ["\"e\"", "f"]}`}},
	"text-groups": {"mnrl", []string{`{"anchor": "q \"1\"", "positive": "a, b", "negative_1": "c\nd"}`,
		`{"anchor": "r", "positive": "e"}`}},
	"text-groups of lists": {"mnrl", []string{`{"query": "q", "pos": ["a", "b"], "neg": ["c"]}`,
		`{"query": "r", "pos": ["d"], "neg": ["e"]}`}},
	"text-sets": {"mnrl", []string{`{"set": ["a", "b", "c, d"]}`}},
	"text-scores": {"cosent", []string{`{"sentence1": "a", "sentence2": "b, c", "score": 0.5}`,
		`{"sentence1": "d", "sentence2": "e", "score": 3}`}},
	"kto": {"kto", []string{`{"prompt": "p", "completion": "a", "label": true}`,
		`{"prompt": "q", "completion": "b", "label": false}`}},
	"choices": {asChoices,
		[]string{`{"question": "q \"1\"", "choices": {"text": ["a", "b, c"], "label": ["A", "B"]}, "answerKey": "B"}`,
			`{"question": "r\ts", "choices": {"text": ["d", "e"], "label": ["A", "B"]}, "answerKey": "A"}`}},
	"prompts": {asPrompts, []string{`{"prompt": [{"role": "user", "content": "q, \"1\"\tx"}, ` +
		`{"role": "assistant", "content": "a\nb"}, {"role": "user", "content": "c"}], "gold": "d"}`,
		`{"prompt": [{"content": "e", "role": "user"}], "gold": "7"}`}},
	"winogrande": {asChoices,
		[]string{`{"sentence": "Ann paid Bea, for _ was poor.", "option1": "Ann", "option2": "Bea", "answer": "2"}`}},
	"choice-instruction": {asChoices, []string{`{"instruction": "Please choose the correct answer to the question: ` +
		`q\n\nAnswer1: a Answer2: b\n\nAnswer format: answer1/answer2", ` +
		`"input": "", "output": "answer2", "answer": "answer2"}`}},
	"kto of answers": {"kto",
		[]string{`{"question": "p", "answer": "a", "label": true}`,
			`{"question": "q", "answer": "b", "label": false}`}},
}

// asChoices stands for the method of rows that are read as multiple choice, asPrompts of rows read as prompts.
const (
	asChoices = "choices"
	asPrompts = "prompts"
)

// containers write rows, given as JSON objects, each in its own way.
var containers = map[string]func(t *testing.T, rows []string) string{
	"lines.jsonl":    func(t *testing.T, rows []string) string { return strings.Join(rows, "\n") },
	"list.json":      func(t *testing.T, rows []string) string { return "[" + strings.Join(rows, ", ") + "]" },
	"list.jsonl":     func(t *testing.T, rows []string) string { return "[\n" + strings.Join(rows, ",\n") + "\n]\n" },
	"indented.jsonl": func(t *testing.T, rows []string) string { return strings.Join(indented(t, rows), "\n") },
	"within.json": func(t *testing.T, rows []string) string {
		return `{"data": [` + strings.Join(rows, ", ") +
			`]}`
	},
	"lines.jsonl.gz": func(t *testing.T, rows []string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(strings.Join(rows, "\n"))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	},
	"table.csv":     func(t *testing.T, rows []string) string { return table(t, rows, ',') },
	"table.tsv":     func(t *testing.T, rows []string) string { return table(t, rows, '\t') },
	"table.parquet": parquetTable,
}

func indented(t *testing.T, rows []string) []string {
	t.Helper()
	var out []string
	for _, row := range rows {
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(row), "", "  "); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.String())
	}
	return out
}

// A member is a field of a JSON object, members an object whose fields keep their order.
type member struct {
	name  string
	value any
}
type members []member

// ordered decodes JSON with objects as members.
func ordered(t *testing.T, d *json.Decoder) any {
	t.Helper()
	tok, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch tok {
	case json.Delim('{'):
		var out members
		for d.More() {
			key, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, member{key.(string), ordered(t, d)})
		}
		d.Token()
		return out
	case json.Delim('['):
		out := []any{}
		for d.More() {
			out = append(out, ordered(t, d))
		}
		d.Token()
		return out
	}
	return tok
}

func objects(t *testing.T, rows []string) []members {
	t.Helper()
	var out []members
	for _, row := range rows {
		out = append(out, ordered(t, json.NewDecoder(strings.NewReader(row))).(members))
	}
	return out
}

// columns lists the names of all fields in the order in which they come up.
func columns(rows []members) []string {
	var names []string
	for _, row := range rows {
		for _, m := range row {
			if !slices.Contains(names, m.name) {
				names = append(names, m.name)
			}
		}
	}
	return names
}

// table writes lists and objects into cells as JSON, as people do.
func table(t *testing.T, rows []string, comma rune) string {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	names := columns(objects(t, rows))
	if err := w.Write(names); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(row), &fields); err != nil {
			t.Fatal(err)
		}
		var cells []string
		for _, name := range names {
			var s string
			if json.Unmarshal(fields[name], &s) != nil {
				s = string(fields[name])
			}
			cells = append(cells, s)
		}
		if err := w.Write(cells); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	return b.String()
}

// parquetTable writes rows as Arrow does: one type for each column, a struct with the fields of all rows in the order
// in which they come up, and null for those that a row lacks.
func parquetTable(t *testing.T, rows []string) string {
	t.Helper()
	objs := objects(t, rows)
	var values []any
	for _, o := range objs {
		values = append(values, o)
	}
	typ := arrowType(values)
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	var b bytes.Buffer
	w := parquet.NewWriter(&b, parquet.SchemaOf(reflect.New(typ).Interface()))
	for _, o := range objs {
		v := reflect.New(typ)
		fill(v.Elem(), o)
		if err := w.Write(v.Interface()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// arrowType finds the type of a column from its values. All is optional.
func arrowType(values []any) reflect.Type {
	var inner []any
	var objs []members
	for _, v := range values {
		switch v := v.(type) {
		case members:
			objs = append(objs, v)
		case []any:
			inner = append(inner, v...)
		}
	}
	switch values[0].(type) {
	case members:
		var fields []reflect.StructField
		for i, name := range columns(objs) {
			var all []any
			for _, o := range objs {
				for _, m := range o {
					if m.name == name {
						all = append(all, m.value)
					}
				}
			}
			typ, tag := arrowType(all), name+",optional"
			if typ.Kind() == reflect.Slice {
				tag = name + ",optional,list"
			}
			fields = append(fields,
				reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: typ,
					Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", tag))})
		}
		return reflect.PointerTo(reflect.StructOf(fields))
	case []any:
		element := arrowType(inner)
		if element.Kind() == reflect.Pointer { // none is null
			element = element.Elem()
		}
		return reflect.SliceOf(element)
	case float64:
		return reflect.TypeFor[*float64]()
	case bool:
		return reflect.TypeFor[*bool]()
	default:
		return reflect.TypeFor[*string]()
	}
}

func fill(v reflect.Value, x any) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch x := x.(type) {
	case members:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("parquet"), ",")
			for _, m := range x {
				if m.name == name {
					fill(v.Field(i), m.value)
				}
			}
		}
	case []any:
		v.Set(reflect.MakeSlice(v.Type(), len(x), len(x)))
		for i := range x {
			fill(v.Index(i), x[i])
		}
	default:
		v.Set(reflect.ValueOf(x))
	}
}

// TestContainers reads every format from every container: the tokens and marks must be the same.
func TestContainers(t *testing.T) {
	for _, name := range data.Formats() {
		if _, ok := formatRows[name]; !ok && name != "natural-instructions" { // a file of its own kind
			t.Errorf("format %s has no rows here", name)
		}
	}
	model := chatModel(t, toolTemplate)
	for name, f := range formatRows {
		t.Run(name, func(t *testing.T) {
			want := itemsIn(t, model, f.method, "lines.jsonl", f.rows)
			for file := range containers {
				got := itemsIn(t, model, f.method, file, f.rows)
				if len(got) != len(want) {
					t.Errorf("%s: got %d items, want %d", file, len(got), len(want))
					continue
				}
				for i := range want {
					if got[i] != want[i] {
						t.Errorf("%s, item %d:\ngot  %s\nwant %s", file, i, got[i], want[i])
					}
				}
			}
		})
	}
}

// itemsIn reads rows from a container and spells their items.
func itemsIn(t *testing.T, model, method, file string, rows []string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(path, []byte(containers[file](t, rows)), 0o666); err != nil {
		t.Fatal(err)
	}
	switch method {
	case asChoices:
		return choicesIn(t, model, path)
	case asPrompts:
		return promptsIn(t, path)
	}
	r, read, err := readData(t, model, path, func(c *config.Config) { c.Method = method })
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var out []string
	for i := range read.Train.Items {
		out = append(out, spellItem(r, &read.Train.Items[i]))
	}
	return out
}

func promptsIn(t *testing.T, path string) (out []string) {
	t.Helper()
	d, err := data.Open(t.Context(), []string{path}, data.Options{Want: data.WantPrompts})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range d.Len() {
		x, err := d.At(i)
		if err != nil {
			t.Fatal(err)
		}
		x.Source = data.Source{}
		out = append(out, fmt.Sprintf("%+v", x))
	}
	return out
}

func choicesIn(t *testing.T, model, path string) (out []string) {
	t.Helper()
	c := config.Default()
	c.Model, c.Data, c.Packing = model, []string{path}, "none"
	m, err := engine.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r, err := Open(&c, m, sft.SFT)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read, err := r.ReadChoices(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range read.Questions {
		out = append(out, fmt.Sprintf("%s %d %v", spellItem(r, read.Rows.Row(i)[0]), q.Right, q.Lengths))
	}
	return out
}

func spellItem(r *Reader, it *encode.Item) string {
	return fmt.Sprintf("%g %q", it.Label, branches(r, it))
}
