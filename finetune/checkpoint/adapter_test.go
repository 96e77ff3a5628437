package checkpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFindAdapter: which file a path names.
func TestFindAdapter(t *testing.T) {
	const first, newest = "run/checkpoints/step-00000002", "run/checkpoints/step-00000010+3"
	const one, two = first + "/adapter.gguf", newest + "/adapter.gguf"
	for _, tc := range []struct {
		name, files, path, want, wrong string
	}{
		{name: "a file", files: "x.gguf", path: "x.gguf", want: "x.gguf"},
		{name: "nothing", path: "none.gguf", want: "none.gguf"},
		{name: "none named", path: "", want: ""},
		{name: "a run that ended", files: "run/adapter.gguf " + two, path: "run", want: "run/adapter.gguf"},
		{name: "a run under way", files: one + " " + two, path: "run", want: two},
		{name: "an older checkpoint", files: one + " " + two, path: first, want: one},
		{name: "a checkpoint that is being written", files: one + " run/checkpoints/.step-00000011.tmp/adapter.gguf",
			path: "run", want: one},
		{name: "the newest of an older version", files: one + " " + newest + "/state.bin", path: "run", want: one},
		{name: "a full run", files: "run/model.gguf", path: "run", wrong: "give it as the model: -m run/model.gguf"},
		{name: "an older version", files: first + "/state.bin", path: "run",
			wrong: "run holds no adapter: a run with --tune full or part"},
		{name: "its checkpoint", files: first + "/state.bin", path: first,
			wrong: "step-00000002 holds no adapter: a run with --tune full or part"},
		{name: "a directory", files: "run/other", path: "run", wrong: "run is a directory without an adapter"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, f := range strings.Fields(tc.files) {
				if err := os.MkdirAll(filepath.Dir(f), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, nil, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			got, err := FindAdapter(filepath.FromSlash(tc.path))
			if tc.wrong != "" {
				if err == nil || !strings.Contains(filepath.ToSlash(err.Error()), tc.wrong) {
					t.Errorf("got %q, %v, want %q", got, err, tc.wrong)
				}
				return
			}
			if err != nil || filepath.ToSlash(got) != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}
