//go:build !system_llama

package bindings

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The drift test: our declarations of ggml and llama.cpp against the real ones.

// realHeaders returns the folders of the supplier's headers.
func realHeaders(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ollama/ollama").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	dir := strings.TrimSpace(string(out))
	return []string{filepath.Join(dir, "ml/backend/ggml/ggml/include"), filepath.Join(dir, "llama/llama.cpp/include"),
		filepath.Join(dir, "llama/llama.cpp/src")}
}

// compile checks, without making code, that ours, a folder holding our headers, agrees with the real ones.
func compile(t *testing.T, ours string) (string, error) {
	t.Helper()
	out, err := check(t, ours, "CC", "c", "gnu11",
		"#include <llama.h>\n#include <gguf.h>\n#define GT_DRIFT 1\n#include \"ggmlapi.h\"\n#include \"llamaapi.h\"\n"+
			"#include \"llama/reference/api.h\"\n")
	if err != nil {
		return out, err
	}
	return check(t, ours, "CXX", "c++", "gnu++17", "#include <llama-model.h>\n#include \"llamainternal.h\"\n")
}

// check compiles a text with the compiler that Go uses under that name.
func check(t *testing.T, dir, compiler, language, standard, text string) (string, error) {
	t.Helper()
	name := os.Getenv(compiler)
	if name == "" {
		out, err := exec.Command("go", "env", compiler).Output()
		if err != nil {
			t.Fatal(err)
		}
		name = strings.TrimSpace(string(out))
	}
	args := []string{"-std=" + standard, "-fsyntax-only", "-Wall", "-Werror", "-x", language}
	for _, dir := range realHeaders(t) {
		args = append(args, "-isystem", dir)
	}
	cmd := exec.Command(strings.Fields(name)[0], append(strings.Fields(name)[1:], append(args, "-")...)...)
	cmd.Dir = dir // where the compiler looks first for what standard input includes
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestNoDrift(t *testing.T) {
	if out, err := compile(t, "."); err != nil {
		t.Errorf("our declarations differ from the supplier's; mend ggmlapi.h, llamaapi.h or llamainternal.h, and "+
			"what uses them: %v\n%s", err, out)
	}
}

// Every way in which the two could come apart must fail TestNoDrift, or it proves nothing: each case changes a copy of
// our headers.
func TestDriftIsNoticed(t *testing.T) {
	for _, c := range []struct{ name, file, from, to, says string }{
		{"an enum value", "ggmlapi.h", "X(GGML_TYPE_Q8_0, 8)", "X(GGML_TYPE_Q8_0, 9)", "GGML_TYPE_Q8_0"},
		{"an enum constant that is gone", "ggmlapi.h", "X(GGML_STATUS_FAILED, -1)", "X(GGML_STATUS_GONE, -1)",
			"GGML_STATUS_GONE"},
		{"a macro's value", "ggmlapi.h", "GT_CONST(GGML_MAX_N_THREADS, 512)", "GT_CONST(GGML_MAX_N_THREADS, 256)",
			"GGML_MAX_N_THREADS"},
		{"fields swapped", "ggmlapi.h",
			"F(ggml_init_params, size_t, mem_size, )          \\\n    F(ggml_init_params, void *, mem_buffer, )",
			"F(ggml_init_params, void *, mem_buffer, )          \\\n    F(ggml_init_params, size_t, mem_size, )",
			"mem_size"},
		{"a field's type, of equal size", "llamaapi.h", "F(llama_context_params, float, rope_freq_base, )",
			"F(llama_context_params, int32_t, rope_freq_base, )", "rope_freq_base"},
		{"a field too few at the end", "llamaapi.h", "    F(llama_batch, int8_t *, logits, )\n", "\n",
			"struct llama_batch"},
		{"a field too many in the middle", "llamaapi.h", "F(llama_model_params, bool, use_mmap, ) ",
			"F(llama_model_params, bool, use_mmap, ) F(llama_model_params, bool, use_more, ) ", "use_more"},
		{"a parameter's type", "llamaapi.h", "llama_sampler_init_dist(uint32_t seed)",
			"llama_sampler_init_dist(int32_t seed)", "llama_sampler_init_dist"},
		{"a parameter too few", "llamaapi.h", "llama_memory_clear(llama_memory_t mem, bool data)",
			"llama_memory_clear(llama_memory_t mem)", "llama_memory_clear"},
		{"a result", "ggmlapi.h", "size_t                ggml_tensor_overhead(void)",
			"int                ggml_tensor_overhead(void)", "ggml_tensor_overhead"},
		{"what only tests call", "llama/reference/api.h", "F(llama_model_quantize_params, bool, pure, ) ",
			"F(llama_model_quantize_params, int32_t, pure, ) ", "pure"},
		{"what is not in llama.h", "llamainternal.h", "const std::vector<", "std::vector<",
			"llama_internal_get_tensor_map"},
		{"const", "llamaapi.h", "llama_n_ctx(const struct llama_context * ctx)",
			"llama_n_ctx(struct llama_context * ctx)", "llama_n_ctx"},
		{"an array's length", "ggmlapi.h", "GT_CONST(GGML_MAX_SRC, 10)", "GT_CONST(GGML_MAX_SRC, 9)", "GGML_MAX_SRC"},
		{"a callback's type", "ggmlapi.h", "typedef bool (*ggml_abort_callback)(void * data);",
			"typedef int (*ggml_abort_callback)(void * data);", "ggml_abort_callback"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, name := range []string{"declare.h", "ggmlapi.h", "llamaapi.h", "llamainternal.h",
				"llama/reference/api.h"} {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if name == c.file {
					if n := bytes.Count(b, []byte(c.from)); n != 1 {
						t.Fatalf("%q occurs %d times in %s, want once", c.from, n, name)
					}
					b = bytes.Replace(b, []byte(c.from), []byte(c.to), 1)
				}
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			out, err := compile(t, dir)
			if err == nil {
				t.Fatal("the changed declarations compile")
			}
			if !strings.Contains(out, c.says) {
				t.Errorf("the compiler does not name %s:\n%s", c.says, out)
			}
		})
	}
}
