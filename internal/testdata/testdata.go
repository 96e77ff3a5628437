// Package testdata finds the real models and datasets that some tests use. It does not know what is in them; they are not
// part of the repository.
package testdata

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Env names the environment variable that overrides where the data folder is looked for.
const Env = "GGTUNE_DATA"

// Shared returns the folder of real data: $GGTUNE_DATA, or ../shared/data relative to the repository root. It skips the test
// where there is none. A $GGTUNE_DATA that is not a folder fails the test: whoever sets it wants the tests to run.
func Shared(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(Env); dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			t.Fatalf("%s=%s is not a folder", Env, dir)
		}
		return dir
	}
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		t.Skipf("built with -trimpath: set %s to the folder of real models and datasets", Env)
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	dir := filepath.Join(root, "..", "shared", "data")
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		t.Skipf("no real models and datasets at %s; set %s to their folder", dir, Env)
	}
	return dir
}

// Path is Shared joined with the elements of a path. It skips the test if there is no such file.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{Shared(t)}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not among the real data", path)
	}
	return path
}
