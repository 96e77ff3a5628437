package deptest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ggtune/ggtune/"

// topLevel are the folders of the design, and no others.
var topLevel = []string{".ci", "bindings", "cmd", "docs", "engine", "finetune", "internal", "quant", "scripts",
	"third_party"}

// allowed says what a folder and those below it may import of this module: the folders listed and all below them. The
// longest folder that holds a package counts. A package may always import what lies below its own folder.
var allowed = map[string][]string{
	"cmd":                {"finetune", "engine", "quant", "bindings", "internal"},
	"scripts":            {"finetune", "engine", "quant", "bindings", "internal"}, // programs for upkeep, like cmd
	"finetune":           {"finetune", "engine", "quant", "bindings", "internal"},
	"engine":             {"engine", "quant", "bindings", "internal"},
	"engine/gguf":        {"internal"},
	"engine/graph":       {"internal"},
	"engine/safetensors": {"internal"},
	"engine/synth":       {"engine/gguf", "engine/arch", "engine/graph", "quant", "internal"},
	"engine/delta":       {"engine/graph"},
	"engine/arch":        {"engine/gguf", "engine/graph", "engine/delta", "internal"},
	"quant":              {"engine/gguf", "bindings", "internal"},
	"bindings":           {"bindings", "third_party", "internal"},
	"third_party":        {},
	"internal":           {"internal"},
}

// exceptions allow single imports against the direction, each with its reason.
var exceptions = []struct {
	from, to string
	tests    bool // for test files only
	reason   string
}{
	{"bindings/ggml", "engine/gguf", true, "it compares gguf's table of storage types with ggml's own"},
	{"bindings/llama", "engine/gguf", true, "it writes adapters and broken files for llama.cpp to open"},
	{"engine/synth", "bindings/ggml", true, "only ggml can say what its blocks hold"},
	{"engine/synth", "bindings/llama", true, "only llama.cpp can say that a generated model is whole"},
	{"internal/refmodel", "engine/gguf", false,
		"it reads and writes GGUF files; a second reader would be a second way of doing it"},
}

// loop is what the training loop, in finetune itself, builds on: it knows no file, no text and no settings.
var loop = []string{"finetune/encode", "finetune/method", "finetune/optim"}

// testOnly packages are for tests and stay out of the binary.
var testOnly = []string{"internal/testdata", "internal/atomicfile/faultfs", "internal/fuzzing", "internal/chromium",
	"engine/backend/distant",
	"engine/backend/parity", "bindings/llama/reference"}

// A file is one Go file: its folder, its imports of this module (without the module path) and others.
type file struct {
	path, dir string
	test      bool
	external  bool // a test file of a package of its own, which nothing imports
	own       []string
	others    []string
}

func root(t *testing.T) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(filepath.Dir(wd))
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatalf("%s is not the root of the module: %v", dir, err)
	}
	return dir
}

// ignored lists the top-level folders that .gitignore names as /x/, and those of git and editors.
func ignored(t *testing.T, dir string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{".git", ".idea", ".vscode"}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "/") && strings.HasSuffix(line, "/") {
			out = append(out, strings.Trim(line, "/"))
		}
	}
	return out
}

// load parses the imports of every Go file, whatever its build tags.
func load(t *testing.T, dir string) []file {
	t.Helper()
	skip := ignored(t, dir)
	var files []file
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(path, dir), string(filepath.Separator)))
		if d.IsDir() {
			if slices.Contains(skip, rel) || d.Name() == "testdata" && rel != "internal/testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		one := file{path: rel, dir: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go")}
		one.external = one.test && strings.HasSuffix(f.Name.Name, "_test")
		for _, im := range f.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: import %s: %w", rel, im.Path.Value, err)
			}
			if own, ok := strings.CutPrefix(p, module); ok {
				one.own = append(one.own, own)
			} else {
				one.others = append(one.others, p)
			}
		}
		files = append(files, one)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func under(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// rule finds the entry of allowed for a package.
func rule(pkg string) (folder string, may []string) {
	for f, m := range allowed {
		if under(pkg, f) && len(f) > len(folder) {
			folder, may = f, m
		}
	}
	return folder, may
}

// violation says what is wrong with an import of this module, or nothing.
func violation(f file, to string) string {
	if to == f.dir {
		return "" // an external test package
	}
	if f.external && to == "engine/synth" {
		return "" // generated models serve the tests of every package, those below synth too
	}
	for _, e := range exceptions {
		if f.dir == e.from && to == e.to && (f.test || !e.tests) {
			return ""
		}
	}
	if !f.test && !under(f.dir, "internal") && slices.Contains(testOnly, to) {
		return "it is for tests only"
	}
	if below := under(f.dir, "engine") || under(f.dir, "quant"); below && !f.test && to == "bindings/llama" &&
		f.dir != "engine/verify" {
		return "engine/verify is the only package of engine, and of what it builds on, that imports llama.cpp"
	}
	switch within := under(f.dir, "finetune"); {
	case within && to == "finetune" && f.dir != "finetune/run":
		return "within finetune only run imports the loop"
	case within && to == "finetune/run":
		return "run wires the others, and none of them knows of it"
	case f.dir == "finetune" && !f.test && under(to, "finetune") && !slices.Contains(loop, to):
		return fmt.Sprintf("of finetune, the loop imports only %q", loop)
	}
	folder, may := rule(f.dir)
	if folder == "" {
		return "the importing folder is not in the design"
	}
	if under(to, f.dir) {
		return ""
	}
	for _, m := range may {
		if under(to, m) {
			return ""
		}
	}
	return fmt.Sprintf("%s may import only %q of this module", folder, may)
}

func TestImportsPointDown(t *testing.T) {
	dir := root(t)
	files := load(t, dir)
	if len(files) < 20 {
		t.Fatalf("only %d Go files found under %s", len(files), dir)
	}
	for _, f := range files {
		if f.dir == "." {
			t.Errorf("%s: the root holds no Go files", f.path)
		}
		for _, to := range f.own {
			if why := violation(f, to); why != "" {
				t.Errorf("%s imports %s: %s", f.path, to, why)
			}
		}
		for _, to := range f.others {
			switch {
			case to == "C" && !under(f.dir, "bindings") && !under(f.dir, "third_party"):
				t.Errorf("%s imports \"C\": only bindings and third_party hold cgo", f.path)
			case under(to, "github.com/ollama/ollama") && f.dir != "third_party/ggml":
				t.Errorf("%s imports %s: only third_party/ggml names the supplier of ggml", f.path, to)
			}
		}
	}
}

// What engine/gguf builds on must not lead back to it through internal/refmodel's exception.
func TestGGUFStandsAlone(t *testing.T) {
	imports := map[string][]string{}
	for _, f := range load(t, root(t)) {
		if !f.test {
			imports[f.dir] = append(imports[f.dir], f.own...)
		}
	}
	seen := map[string]bool{}
	var visit func(pkg string, chain []string)
	visit = func(pkg string, chain []string) {
		chain = append(slices.Clone(chain), pkg)
		if pkg == "internal/refmodel" {
			t.Errorf("engine/gguf leads to %s: %s", pkg, strings.Join(chain, " → "))
		}
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		for _, to := range imports[pkg] {
			visit(to, chain)
		}
	}
	visit("engine/gguf", nil)
	if len(seen) < 2 {
		t.Errorf("engine/gguf's imports were not found: %v", seen)
	}
}

func TestFolders(t *testing.T) {
	dir := root(t)
	skip := ignored(t, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(topLevel, e.Name()) && !slices.Contains(skip, e.Name()) {
			t.Errorf("top-level folder %s is not one of %v", e.Name(), topLevel)
		}
	}
	// C, C++ and assembly would make a package cgo without an import of "C".
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(path, dir), string(filepath.Separator)))
		if d.IsDir() {
			if slices.Contains(skip, rel) || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(rel) {
		case ".c", ".cc", ".cpp", ".h", ".hpp", ".s", ".S", ".syso":
			if !under(rel, "bindings") && !under(rel, "third_party") {
				t.Errorf("%s: C stands only in bindings and third_party", rel)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// llama.cpp asserts, or worse, on models and adapters that are not what it expects: they reach it through one door,
// where they are checked.
func TestOneDoorToLlama(t *testing.T) {
	const door = "engine/verify/open.go"
	open := regexp.MustCompile(`\b(llama\.OpenModel|llama\.PlanMemory|\w+\.LoadAdapter)\(`)
	seen := false
	for _, f := range load(t, root(t)) {
		if f.test || under(f.dir, "bindings") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(f.path)))
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range open.FindAllString(string(text), -1) {
			switch {
			case f.path == door:
				seen = true
			case call != "verify.LoadAdapter(":
				t.Errorf("%s calls %s): go through %s", f.path, call, door)
			}
		}
	}
	if !seen {
		t.Errorf("%s opens no model", door)
	}
}

// The rules themselves, on made-up imports: a rule that allows everything would pass above.
func TestViolation(t *testing.T) {
	for _, tt := range []struct {
		path, to string
		ok       bool
	}{
		{"cmd/ggtune/main.go", "finetune", true},
		{"cmd/ggtune/main.go", "internal/registry", true},
		{"cmd/ggtune/main.go", "third_party/ggml", false},
		{"cmd/ggtune/main.go", "engine/synth", true}, // bench
		{"cmd/ggtune/main.go", "internal/testdata", false},
		{"cmd/ggtune/main_test.go", "internal/testdata", true},
		{"finetune/loop.go", "engine", true},
		{"finetune/loop.go", "cmd/ggtune", false},
		{"finetune/loop.go", "finetune/encode", true},
		{"finetune/loop.go", "finetune/config", false},
		{"finetune/loop_test.go", "finetune/data", true},
		{"finetune/run/run.go", "finetune", true},
		{"finetune/run/run.go", "finetune/config", true},
		{"finetune/generate/chat.go", "finetune", false},
		{"finetune/generate/chat.go", "finetune/run", false},
		{"finetune/data/jsonl.go", "finetune", false},
		{"cmd/ggtune/main.go", "finetune/run", true},
		{"engine/model.go", "finetune/data", false},
		{"engine/model.go", "engine/graph", true},
		{"engine/model.go", "quant", true},
		{"engine/model.go", "bindings/llama", false},
		{"engine/adapter/file.go", "bindings/llama", false},
		{"engine/model_test.go", "bindings/llama", true},
		{"engine/verify/verify.go", "bindings/llama", true},
		{"quant/quant.go", "bindings/llama", false},
		{"engine/gguf/file.go", "internal/registry", true},
		{"engine/gguf/file.go", "engine/graph", false},
		{"engine/gguf/file.go", "bindings/ggml", false},
		{"engine/gguf/external_test.go", "engine/synth", true},
		{"engine/gguf/internal_test.go", "engine/synth", false},
		{"bindings/llama/external_test.go", "engine/synth", true},
		{"bindings/llama/external_test.go", "engine/arch", false},
		{"engine/graph/graph.go", "engine/gguf", false},
		{"engine/graph/graph.go", "engine", false},
		{"quant/mix.go", "engine/gguf", true},
		{"quant/mix.go", "engine", false},
		{"bindings/ggml/pool.go", "third_party/ggml", true},
		{"bindings/ggml/pool.go", "engine/gguf", false},
		{"third_party/ggml/ggml.go", "internal/registry", false},
		{"internal/registry/registry.go", "internal/atomicfile", true},
		{"internal/registry/registry.go", "engine/gguf", false},
		{"engine/synth/spec.go", "engine/gguf", true},
		{"engine/synth/spec.go", "engine", false},
		{"engine/synth/spec.go", "bindings/llama", false},
		{"engine/synth/spec_test.go", "bindings/llama", true},
		{"extra/x.go", "internal/registry", false},
	} {
		f := file{path: tt.path, dir: filepath.ToSlash(filepath.Dir(tt.path)),
			test: strings.HasSuffix(tt.path, "_test.go")}
		f.external = strings.HasSuffix(tt.path, "/external_test.go")
		if why := violation(f, tt.to); (why == "") != tt.ok {
			t.Errorf("%s imports %s: got %q, want allowed %v", tt.path, tt.to, why, tt.ok)
		}
	}
}
