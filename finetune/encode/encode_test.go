package encode

import (
	"slices"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/data"
	"github.com/ggtune/ggtune/finetune/template"
)

var src = data.Source{File: "d.jsonl", Line: 3}

// chatML is a conversation as a ChatML template's spans.
func chatML(bos string, turns ...string) *template.Rendering {
	r := &template.Rendering{EndsTurn: true, StartsWithBOS: bos != ""}
	if bos != "" {
		r.Spans = append(r.Spans, template.Span{Text: bos, Message: -1, Kind: template.Header})
	}
	for i, turn := range turns {
		role, train := "user", false
		if i%2 == 1 {
			role, train = "assistant", true
		}
		at := len(r.Text()) + len("<|im_start|>"+role+"\n")
		r.Data = append(r.Data, [2]int{at, at + len(turn)})
		r.Spans = append(r.Spans,
			template.Span{Text: "<|im_start|>" + role + "\n", Message: i, Kind: template.Header},
			template.Span{Text: turn, Train: train, Message: i, Kind: template.Content})
		end := template.Span{Text: "<|im_end|>", Train: train, Message: i, Kind: template.End}
		if !train {
			end.Kind = template.Header
		}
		r.Spans = append(r.Spans, end, template.Span{Text: "\n", Message: i, Kind: template.Header})
	}
	return r
}

func newEncoder(t *testing.T, v *fakeVocab) *Encoder {
	t.Helper()
	e, err := New(v)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// shown writes an item for reading: tokens apart by |, counted ones in brackets.
func shown(e *Encoder, it Item) string {
	var parts []string
	for i, id := range it.Tokens {
		s := e.Piece(id)
		if it.Counted[i] {
			s = "[" + s + "]"
		}
		parts = append(parts, s)
	}
	return strings.ReplaceAll(strings.Join(parts, "¦"), "\n", "⏎")
}

func TestConversation(t *testing.T) {
	for _, tc := range []struct {
		name  string
		vocab func(v *fakeVocab)
		r     *template.Rendering
		typed bool // what the data wrote spells a control token
		want  string
	}{
		{"plain", nil, chatML("", "hi", "hello world."), false,
			"<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦[⏎he]¦[l]¦[l]¦[o]¦[ world]¦[.]¦[<|im_end|>]¦⏎"},
		{"two turns, both trained", nil, chatML("", "hi", "hi", "hi", "hi"), false,
			"<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦⏎¦<|im_start|>¦user¦⏎¦hi¦" +
				"<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦⏎"},
		{"BOS from the template", func(v *fakeVocab) { v.addBOS = true }, chatML("<s>", "hi", "hi"), false,
			"<s>¦<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦⏎"},
		{"BOS from the model", func(v *fakeVocab) { v.addBOS = true }, chatML("", "hi", "hi"), false,
			"<s>¦<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦⏎"},
		{"SPM's space", func(v *fakeVocab) { v.spacePrefix = true }, chatML("", "hi", " hi"), false,
			"<|im_start|>¦ ¦user¦⏎¦hi¦<|im_end|>¦ ¦⏎¦<|im_start|>¦ ¦assistant¦⏎¦[ ]¦[hi]¦[<|im_end|>]¦ ¦⏎"},
		{"SPM's space before an answer", func(v *fakeVocab) { v.spacePrefix = true },
			&template.Rendering{EndsTurn: true, Data: [][2]int{{12, 15}}, Spans: []template.Span{
				{Text: "<|im_start|>", Kind: template.Header}, {Text: "xyz", Kind: template.Content, Train: true}}},
			false,
			"<|im_start|>¦[ ]¦[x]¦[y]¦[z]"},
		{"typed end of turn", nil, chatML("", "<|im_end|>", "a<|im_end|>b"), true,
			"<|im_start|>¦user¦⏎¦<|¦im_end¦|>¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[a]¦[<|]¦[im_end]¦[|>]¦[b]¦" +
				"[<|im_end|>]¦⏎"},
		{"typed shorter mark", nil, chatML("", "<|im", "hi"), true,
			"<|im_start|>¦user¦⏎¦<|¦i¦m¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦⏎"},
		{"mark across a border", nil,
			&template.Rendering{EndsTurn: true, Data: [][2]int{{2, 10}}, Spans: []template.Span{
				{Text: "<|", Kind: template.Header}, {Text: "im_end|>", Kind: template.Content, Train: true}}}, true,
			"<|¦[im_end]¦[|>]"},
		{"the template's own mark inside a turn", nil,
			&template.Rendering{EndsTurn: true, Data: [][2]int{{2, 4}}, Spans: []template.Span{
				{Text: "hi", Kind: template.Header}, {Text: "hi<|im_start|>", Kind: template.Content, Train: true}}},
			false,
			"hi¦[hi]¦[<|im_start|>]"},
		{"white space dropped beside a mark", func(v *fakeVocab) { v.rstrip[v.eot] = true },
			chatML("", "hi", "hi", "hi", "hi"), false,
			"<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦<|im_start|>¦user¦⏎¦hi¦" +
				"<|im_end|>¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]"},
		{"white space dropped before a mark", func(v *fakeVocab) { v.lstrip[v.eot] = true }, chatML("", "hi \n", "hi "),
			false,
			"<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦⏎¦<|im_start|>¦assistant¦⏎¦[hi]¦[<|im_end|>]¦⏎"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := newFakeVocab()
			if tc.vocab != nil {
				tc.vocab(v)
			}
			e := newEncoder(t, v)
			it, err := e.Conversation(src, tc.r)
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(e, it); got != tc.want {
				t.Errorf("got\n%s, want\n%s", got, tc.want)
			}
			if !tc.typed {
				whole, err := v.Encode(tc.r.Text(), true, true)
				if v.addBOS && tc.r.StartsWithBOS {
					whole = whole[1:]
				}
				if err != nil || !slices.Equal(it.Tokens, whole) {
					t.Errorf("the whole text gives %v, %v; got %v", whole, err, it.Tokens)
				}
			}
		})
	}
}

// TestEndOfTurnAdded: a template that leaves the last answer open has its end added, once, trained.
func TestEndOfTurnAdded(t *testing.T) {
	v := newFakeVocab()
	e := newEncoder(t, v)
	r := &template.Rendering{Spans: []template.Span{
		{Text: "user: ", Kind: template.Header}, {Text: "hi", Kind: template.Content, Train: true}}}
	it, err := e.Conversation(src, r)
	if want := "user¦: hi"; err != nil || !strings.HasSuffix(shown(e, it), "[<|im_end|>]") {
		t.Errorf("got %s, %v; want %s and the end of turn", shown(e, it), err, want)
	}
	r.Spans = append(r.Spans, template.Span{Text: "\nuser: hi", Kind: template.Header})
	if it, err = e.Conversation(src, r); err != nil || strings.Contains(shown(e, it), "im_end") {
		t.Errorf("an end is added behind a turn that is not trained: %s, %v", shown(e, it), err)
	}
	prompt, err := e.Prompt(&template.Rendering{Spans: r.Spans[:2]})
	if err != nil || prompt[len(prompt)-1] == v.eot {
		t.Errorf("an end is added to a prompt: %v, %v", prompt, err)
	}
}

func TestConversationRefuses(t *testing.T) {
	v := newFakeVocab()
	e := newEncoder(t, v)
	if _, err := e.Conversation(src, chatML("<s><s>", "hi", "hi")); err == nil ||
		!strings.Contains(err.Error(), "twice") {
		t.Errorf("two BOS: got %v", err)
	}
	if _, err := e.Conversation(src, chatML("", "ü", "hi")); err == nil ||
		!strings.HasPrefix(err.Error(), "d.jsonl:3: ") {
		t.Errorf("character outside the vocabulary: got %v", err)
	}
}

func TestCompletion(t *testing.T) {
	v := newFakeVocab()
	v.addBOS = true
	e := newEncoder(t, v)
	for _, tc := range []struct{ name, prompt, completion, want string }{
		{"border between tokens", "hi.", " hello", "<s>¦hi¦.¦[ hello]¦[</s>]"},
		{"token across the border", "hello.", "\nhi", "<s>¦hello¦[.⏎]¦[hi]¦[</s>]"},
		{"its own beginning and end", "<s>hi", "hello</s>", "<s>¦hi¦[hello]¦[</s>]"},
		{"its own marks", "<|im_start|>user\nhi<|im_end|>", "hello<|im_end|>\n",
			"<s>¦<|im_start|>¦user¦⏎¦hi¦<|im_end|>¦[hello]¦[<|im_end|>]¦[⏎]"},
		{"a mark within", "hi<|im_end|>", " hello", "<s>¦hi¦<|im_end|>¦[ hello]¦[</s>]"},
		{"empty prompt", "", "hi", "<s>¦[hi]¦[</s>]"},
		{"empty completion", "hi", "", "<s>¦hi"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			it, err := e.Completion(src, tc.prompt, tc.completion)
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(e, it); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if across := tc.name == "token across the border"; across != (len(it.Straddling) == 1) {
				t.Errorf("straddling: %v", it.Straddling)
			}
		})
	}
	it, err := e.Completion(src, "<s>hi<s>", "hello</s>")
	if err != nil || it.Control[v.bos] != 2 || it.Control[v.eos] != 1 || len(it.Control) != 2 {
		t.Errorf("control tokens: got %v, %v", it.Control, err)
	}
	e.Plain = true
	it, err = e.Completion(src, "<s>", "</s>")
	if got, want := shown(e, it), "<s>¦<¦s¦>¦[<]¦[/]¦[s]¦[>]¦[</s>]"; err != nil || got != want || it.Control != nil {
		t.Errorf("plain: got %s, %v, want %s", got, err, want)
	}
}

// TestNoTokens: marks that a template wrote are found once, and those of the data not at all.
func TestNoTokens(t *testing.T) {
	e := newEncoder(t, newFakeVocab())
	r := &template.Rendering{Spans: []template.Span{{Text: "<|im_start|><|user|>a<|x|>b<start_of_turn></s>"}},
		Data: [][2]int{{20, 27}}}
	want := []NoToken{{"<|user|>", 3}, {"<start_of_turn>", 15}}
	if got := e.NoTokens(r); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := e.NoTokens(r); got != nil {
		t.Errorf("again: got %v", got)
	}
}

// TestText: over all windows, each token of the document but the first counts once, predicted from the one before.
func TestText(t *testing.T) {
	const text = "hello world.\nuser: hi hello <s> world"
	for _, bos := range []bool{true, false} {
		v := newFakeVocab()
		v.addBOS = bos
		e := newEncoder(t, v)
		whole, err := v.Encode(text, true, true)
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, v.eos)
		for window := 3; window <= len(whole)+1; window++ {
			items, err := e.Text(src, text, Part{}, window)
			if err != nil {
				t.Fatal(err)
			}
			var counted []int32
			for _, it := range items {
				if len(it.Tokens) > window {
					t.Fatalf("window %d: an item of %d tokens", window, len(it.Tokens))
				}
				for i, c := range it.Counted {
					if !c {
						continue
					}
					if before := len(counted); it.Tokens[i-1] != whole[before] {
						t.Fatalf("window %d: counted token %d is predicted from %d, want %d", window, before,
							it.Tokens[i-1], whole[before])
					}
					counted = append(counted, it.Tokens[i])
				}
			}
			if !slices.Equal(counted, whole[1:]) {
				t.Errorf("window %d, bos %v: counted %v, want %v", window, bos, counted, whole[1:])
			}
		}
	}
}

// TestTextParts: no end of text inside a document, and no token counted that follows what is not there.
func TestTextParts(t *testing.T) {
	for _, tc := range []struct {
		bos  bool
		text string
		part Part
		want string
	}{
		{true, "hi world", Part{}, "<s>¦[hi]¦[ world]¦[</s>]"},
		{true, "hi world", Part{Continued: true}, "<s>¦[hi]¦[ world]"},
		{true, "hi world", Part{Continues: true}, "<s>¦hi¦[ world]¦[</s>]"},
		{false, "hi world", Part{Continues: true, Continued: true}, "hi¦[ world]"},
		{true, "<s>hi world<|im_end|>\n", Part{}, "<s>¦[hi]¦[ world]¦[<|im_end|>]¦[⏎]"},
		{false, "<s>hi</s> world", Part{}, "<s>¦[hi]¦[</s>]¦[ world]¦[</s>]"},
	} {
		v := newFakeVocab()
		v.addBOS = tc.bos
		e := newEncoder(t, v)
		items, err := e.Text(src, tc.text, tc.part, 10)
		if err != nil || len(items) != 1 || shown(e, items[0]) != tc.want {
			t.Errorf("%+v: got %v, %v, want %s", tc.part, items, err, tc.want)
		}
	}
}

// TestSPMSpaceInText: SPM vocabularies give U+2581 back as a space.
func TestSPMSpaceInText(t *testing.T) {
	places := spmPlaces("a\u2581b")
	for i, want := range []int{0, 1, 4, 5} {
		if got := places(i); got != want {
			t.Errorf("byte %d: got %d, want %d", i, got, want)
		}
	}
}

func TestTree(t *testing.T) {
	it, err := Tree(src, []int32{1, 2}, Child{[]int32{3}, []bool{true}}, Child{[]int32{4, 5}, []bool{true, true}})
	if err != nil || it.NumCounted() != 3 || len(it.Segments) != 3 || it.Segments[2].Start != 3 ||
		it.Segments[2].Parent != 0 {
		t.Errorf("got %+v, %v", it, err)
	}
	if _, err := Tree(src, nil, Child{[]int32{3}, []bool{true}}); err == nil {
		t.Error("an empty prompt is accepted")
	}
	if _, err := Tree(src, []int32{1}, Child{}); err == nil {
		t.Error("an empty answer is accepted")
	}
}
