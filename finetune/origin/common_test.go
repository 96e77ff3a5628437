package origin

import (
	"maps"
	"strings"
	"testing"
)

// TestCommon: what is made of several adapters says what all say, and no more.
func TestCommon(t *testing.T) {
	a := &Origin{Adapter: "a", Info: map[string]string{base: "ba5e", methodName: "sft", "mask": "all", Made: "add x"}}
	b := &Origin{Adapter: "b", Info: map[string]string{base: "ba5e", methodName: "dpo", "mask": "all",
		unfinished: "step 3 of 10", Made: "add x"}}
	stranger := &Origin{Adapter: "c", Info: map[string]string{}}
	other := &Origin{Adapter: "d", Info: map[string]string{base: "other"}}
	for name, tt := range map[string]struct {
		list  []*Origin
		want  map[string]string
		notes []string
	}{
		"alike": {[]*Origin{a, a}, map[string]string{base: "ba5e", methodName: "sft", "mask": "all"}, nil},
		"two kinds": {[]*Origin{a, b}, map[string]string{base: "ba5e", "mask": "all", unfinished: "step 3 of 10"},
			[]string{"b is of an unfinished run", "nothing of: method"}},
		"a stranger": {[]*Origin{stranger, a}, map[string]string{base: "ba5e"}, []string{"c: not said on which base"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, notes, err := Common(tt.list...)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(got, tt.want) || len(notes) != len(tt.notes) {
				t.Fatalf("got %q and notes %q, want %q and %d notes", got, notes, tt.want, len(tt.notes))
			}
			for i, want := range tt.notes {
				if !strings.Contains(notes[i], want) {
					t.Errorf("note %q does not say %q", notes[i], want)
				}
			}
		})
	}
	if _, _, err := Common(a, stranger, other); err == nil ||
		!strings.Contains(err.Error(), "d was trained on another") {
		t.Errorf("got error %v, want one that says d is of another base", err)
	}
}
