// Package testdata finds the real models and datasets that some tests use. It does not know what is in them; they are
// not part of the repository.
package testdata

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Env names the environment variable that overrides where the data folder is looked for.
const Env = "GGTUNE_DATA"

// EnvModels names the one for published models, which are too large to lie among the data.
const EnvModels = "GGTUNE_MODELS"

// Shared returns the folder of real data: $GGTUNE_DATA, or ../shared/data relative to the repository root. It skips
// the test where there is none. A $GGTUNE_DATA that is not a folder fails the test: whoever sets it wants the tests to
// run.
func Shared(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv(Env); dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			t.Fatalf("%s=%s is not a folder", Env, dir)
		}
		return dir
	}
	dir := filepath.Join(root(t), "..", "shared", "data")
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

// Cases returns the folder of inputs that went wrong for people, one folder each with a word on what is right. It
// lies beside that of Shared; without it the test is skipped.
func Cases(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(Shared(t)), "cases")
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		t.Skipf("no cases at %s, beside the real data", dir)
	}
	return dir
}

// Model returns a published model, by its file's name, in $GGTUNE_MODELS or build/models under the repository root. It
// skips the test where there is none.
func Model(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv(EnvModels)
	if dir == "" {
		dir = filepath.Join(root(t), "build", "models")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s: ../shared/get-models build/models downloads it; or set %s to its folder", path, EnvModels)
	}
	return path
}

// root is the repository's root. It skips the test if the binary does not say where it was built.
func root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		t.Skipf("built with -trimpath: set %s and %s to the folders of real data and models", Env, EnvModels)
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}
