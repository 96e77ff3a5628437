package data_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/internal/testdata"
)

// TestLayouts: JSON is read as it lies, whatever the name says, or the error says how it lies.
func TestLayouts(t *testing.T) {
	indented := "{\n  \"text\": \"one\"\n}\n{\n  \"text\":\n \"two\"\n}\n"
	long := strings.Repeat("x", 100_000) // longer than what is looked at
	for _, c := range []struct {
		name, content string
		want          []string // lines
	}{
		{"a list named jsonl", `[{"text": "one"}, {"text": "two"}]`, []string{"1", "1"}},
		{"an indented list named jsonl", "[\n  {\n    \"text\": \"one\"\n  },\n  {\"text\": \"two\"}\n]\n",
			[]string{"2", "5"}},
		{"indented objects", indented, []string{"1", "4"}},
		{"an indented object", "{\n  \"text\": \"one\"\n}", []string{"1"}},
		{"objects side by side", "{\"text\":\n\"one\"} {\"text\": \"two\"}", []string{"1", "2"}},
		{"strings", "{\"text\": \"one\"}\n\"two\"\n", []string{"1", "2"}},
		{"long lines", `{"text": "` + long + "\"}\n{\"text\": \"two\"}\n", []string{"1", "2"}},
		{"long lines that look like rows", `{"text": "` + long + "\", \"data\": [{\"a\": 1}]}\n{\"text\": \"two\"}\n",
			[]string{"1", "2"}},
	} {
		for _, file := range []string{"a.jsonl", "a.json", "a.txt"} {
			d := open(t, data.Options{}, write(t, file, c.content))
			var got []string
			for i := range d.Len() {
				x, err := d.At(i)
				if err != nil || x.Text != []string{"one", "two"}[i] && x.Text != long {
					t.Errorf("%s, %s: got %q, %v", c.name, file, x.Text, err)
				}
				got = append(got, fmt.Sprint(x.Source.Line))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s, %s: lines (-want +got):\n%s", c.name, file, diff)
			}
		}
	}
	for content, want := range map[string]string{
		"{\"text\": \"one\"}\n[\n{\"text\": \"two\"}\n]\n":    "a.jsonl:2",
		"{\n\"text\": \"one\"\n}\n{\n\"text\": \"two\"\n":     "a.jsonl:6:1: malformed JSON: the JSON value is cut off",
		"[\n{\"text\": \"one\"}\n]\n{\"text\": \"two\"}\n":    "a.jsonl:3: found",
		"{\"text\": \"one\"}\n{\n  \"text\": \"two\"\n}\n":    "a.jsonl:2",
		"{\n\"text\": \"one\"\n},\n{\n\"text\": \"two\"\n}\n": "a.jsonl:3",
		"text,more\none,two\n":                                "a.jsonl:1",
	} {
		_, err := data.Open(context.Background(), []string{write(t, "a.jsonl", content)}, data.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
}

// TestQuotes: one rule for commas and tabs. No row is lost in a quote without an error that names its line.
func TestQuotes(t *testing.T) {
	for _, c := range []struct {
		name, rows string // with a comma in the place of the separator
		want       []string
		err        string
	}{
		{"none", "a,b\nc,d\n", []string{"a b", "c d"}, ""},
		{"within a cell", "a,5\" wide\nc,say \"so\" again\n", []string{`a 5" wide`, `c say "so" again`}, ""},
		{"around a cell", "\"a\",\"b \"\"c\"\"\nd\"\ne,f\n", []string{"a b \"c\"\nd", "e f"}, ""},
		{"carriage returns", "a,\"b\r\nc\"\r\nd,e\r\n\r\n", []string{"a b\nc", "d e"}, ""},
		{"the separator", "\"a,b\",c\n", []string{"a,b c"}, ""},
		{"no newline at the end", "a,\"b\"", []string{"a b"}, ""},
		{"text behind a quote", "a,b\nc,\"Stop\" he said\nd,e\nf,\"g\"\n", nil,
			":3: malformed table: cell 2 begins with a quote that is closed on line 3"},
		{"closed by another", "a,\"start\nb,c\nd,says \"so\"\n", nil,
			":2: malformed table: cell 2 begins with a quote that is closed on line 4"},
		{"not closed", "a,b\nc,\"start\nd,e\n", nil,
			":3: malformed table: the quote with which cell 2 begins is not closed"},
		{"first cell", "\"a,b\nc,d\n", nil, ":2: malformed table: the quote with which cell 1"},
	} {
		for file, sep := range map[string]string{"a.csv": ",", "a.tsv": "\t"} {
			t.Run(c.name+" "+file, func(t *testing.T) {
				path := write(t, file, strings.ReplaceAll("prompt,completion\n"+c.rows, ",", sep))
				d, err := data.Open(context.Background(), []string{path}, data.Options{})
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), path+c.err) {
						t.Errorf("got %v, want %s", err, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				var got []string
				for i := range d.Len() {
					x, err := d.At(i)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, strings.ReplaceAll(x.Prompt+" "+x.Completion, sep, ","))
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("cells (-want +got):\n%s", diff)
				}
			})
		}
	}
	// By tabs, a quote that happens to be closed at the end of a later cell swallows rows too.
	_, err := data.Open(context.Background(),
		[]string{write(t, "a.tsv", "prompt\tcompletion\na\t\"start\nb\tmore\nc\tstop\"\nd\te\n")}, data.Options{})
	if err == nil ||
		!strings.Contains(err.Error(),
			"a.tsv:2: malformed table: a quote at the beginning of a cell is closed only on line 4") {
		t.Errorf("got %v", err)
	}
}

// TestNoCharacter: half of a surrogate pair is refused as bytes are that are no UTF-8, in every container, and replaced
// where they are.
func TestNoCharacter(t *testing.T) {
	for _, c := range []struct{ file, content, want string }{
		{"a.jsonl", `{"text": "a"}` + "\n" + `{"text": "b\ud83d"}`,
			`a.jsonl:2:12: malformed JSON: the escape \ud83d is half of a surrogate pair`},
		{"a.jsonl", `{"text": "b", "more": ["\uDE00 \ud83d"]}`, `the escape \uDE00`},
		{"a.jsonl", `{"text": "b", "\ud83d\n": 1}`, `the escape \ud83d`},
		{"a.json", "[\n" + `{"text": "b\ud83d\ud83d\ude00"}]`, `a.json:2:12: malformed JSON: the escape \ud83d`},
		{"a.csv", "messages\n" + `"[{""role"": ""assistant"", ""content"": ""\ud83d""}]"` + "\n", `the escape \ud83d`},
		{"a.jsonl", `{"messages": [{"role": "assistant", "content": "a"}], "tools": "[{\"name\": \"\\ud83d\"}]"}`,
			`the escape \ud83d`},
		{"a.parquet", parquetFile(t, []struct {
			Text string `parquet:"text"`
		}{{"a"}, {"b\xff"}}), "a.parquet:2: the byte 0xff"},
	} {
		path := write(t, c.file, c.content)
		if _, err := data.Open(context.Background(), []string{path}, data.Options{}); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.content, err, c.want)
		}
	}
	for _, c := range []struct{ file, content, want string }{
		{"a.jsonl", `{"text": "\ud83d\ude00 \\ud83d"}`, `text "😀 \\ud83d"`},
		{"a.txt", `\ud83d`, `text "\\ud83d"`},
		{"a.csv", "prompt,completion\n\\ud83d,x\n", `completion "\\ud83d" "x"`},
	} {
		if got := all(t, open(t, data.Options{}, write(t, c.file, c.content))); got[0] != c.want {
			t.Errorf("%s: got %s, want %s", c.content, got[0], c.want)
		}
	}
	d := open(t, data.Options{ReplaceInvalid: true}, write(t, "a.jsonl", `{"text": "a\ud83d\ud83d\ude00"}`))
	if got := all(t, d)[0]; got != "text \"a\uFFFD😀\"" {
		t.Errorf("replaced: got %s", got)
	}
}

// TestNoNumber: NaN, which JSON does not have and Python writes all the same, is no damage where nothing reads it.
func TestNoNumber(t *testing.T) {
	type row struct {
		Text  string  `parquet:"text"`
		Score float64 `parquet:"score"`
		Other float32 `parquet:"other"`
	}
	for file, content := range map[string]string{
		"a.jsonl":   `{"text": "NaN, -Infinity \"NaN", "score": NaN, "other":-Infinity}`,
		"a.json":    "[\n" + `{"score": [NaN, Infinity], "text": "NaN, -Infinity \"NaN"}]`,
		"b.json":    "{\n" + `"score": NaN, "text": "NaN, -Infinity \"NaN"}`,
		"a.parquet": parquetFile(t, []row{{`NaN, -Infinity "NaN`, math.NaN(), float32(math.Inf(1))}}),
	} {
		if got, want := all(t, open(t, data.Options{}, write(t, file, content)))[0],
			`text "NaN, -Infinity \"NaN"`; got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
	d := open(t, data.Options{Want: data.WantPairs},
		write(t, "a.jsonl", `{"prompt": "p", "responses": ["a", "b", "c"], "scores": [1, 2, NaN]}`))
	if st := d.Stats(); len(st.Dropped) != 1 || st.Dropped[0].Reason != "an answer without a score" {
		t.Errorf("a score that is no number: got %+v", st.Dropped)
	}
	for _, content := range []string{`{"text": "a", "b": NaNa}`, `{"text": "a", "b": None}`,
		`{"text": "a", "b": Inf}`} {
		if _, err := data.Open(context.Background(), []string{write(t, "a.jsonl", content)},
			data.Options{}); err == nil || !strings.Contains(err.Error(), "a.jsonl:1") {
			t.Errorf("%s: got %v", content, err)
		}
	}
}

// TestParquetStructs: the fields of a struct come in the order of the schema, and nulls that only pad it are absent.
func TestParquetStructs(t *testing.T) {
	type param struct {
		Unit *string `parquet:"unit,optional"`
		City *string `parquet:"city,optional"`
	}
	type tool struct {
		Type string   `parquet:"type"`
		Name string   `parquet:"name"`
		Args *param   `parquet:"args,optional"`
		Need []string `parquet:"need,list"`
		Odd  []param  `parquet:"odd"` // repeated, without a list around it
	}
	type row struct {
		Tools []tool `parquet:"tools,list"`
		Text  string `parquet:"question"`
		Image []byte `parquet:"image"`
		Reply string `parquet:"answer"`
	}
	c, f := "C", "<f>"
	d := open(t, data.Options{}, write(t, "a.parquet", parquetFile(t, []row{
		{Text: "q", Reply: "a", Image: []byte("\xff\xd8"), Tools: []tool{
			{Type: "function", Name: "b", Args: &param{City: &c}, Need: []string{"x", "y"}},
			{Type: "function", Name: "a", Args: &param{Unit: &f}, Odd: []param{{City: &c}, {}}},
			{Type: "function", Name: "n"}}},
		{Text: "q", Reply: "a"},
	})))
	want := []string{`user "q"; assistant "a"; tools ` +
		`[{"type":"function","name":"b","args":{"city":"C"},"need":["x","y"],"odd":[]},` +
		`{"type":"function","name":"a","args":{"unit":"<f>"},"need":[],"odd":[{"city":"C"},{}]},{"type":"function",` +
		`"name":"n","need":[],"odd":[]}]`,
		`user "q"; assistant "a"`}
	if diff := cmp.Diff(want, all(t, d)); diff != "" {
		t.Errorf("examples (-want +got):\n%s", diff)
	}
}

// TestCases reads what people's data looked like where it went wrong.
func TestCases(t *testing.T) {
	shared := testdata.Cases(t)
	for _, c := range []struct {
		file, want string // want: the first example, or the error
	}{
		{"parquet-nested-structs/tools.jsonl", ""},
		{"parquet-nested-structs/tools.parquet", ""},
		{"parquet-nested-structs/nulltools.parquet", `user "u"; assistant "a"; tools ` +
			`[{"type":"function","function":{"name":"first","description":"d","parameters":{"type":"object",` +
			`"properties":{"a":{"type":"string"}}}}},` +
			`{"type":"function","function":{"name":"second","description":"d","parameters":{"type":"object",` +
			`"properties":{"b":{"type":"integer"}}}}}]`},
		{"unread-columns/orca.jsonl", `system "You answer in one word."; user "Sky colour?"; assistant "Blue."`},
		{"tsv-quote-swallows-rows/data.tsv", "data.tsv:3: malformed table"},
		{"tsv-quote-swallows-rows/unclosed.tsv", "unclosed.tsv:2: malformed table"},
		{"per-message-loss-false/data.jsonl", `data.jsonl:3: field "messages", message 2: "train_detail"`},
	} {
		d, err := data.Open(context.Background(), []string{shared + "/" + c.file}, data.Options{})
		got := fmt.Sprint(err)
		if err == nil {
			got = all(t, d)[0]
			d.Close()
		}
		if c.want == "" {
			c.want = `"function":{"name":"get_weather","description":"weather of a ` +
				`city","parameters":{"type":"object","properties":{"unit":{"type":"string"},` +
				`"city":{"type":"string"}},"required":["city"]}}}]`
			got = strings.ReplaceAll(strings.ReplaceAll(got, ": ", ":"), ", ", ",")
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.file, got, c.want)
		}
	}
}
