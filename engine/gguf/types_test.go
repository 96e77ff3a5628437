package gguf

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestParseType(t *testing.T) {
	for _, typ := range Types() {
		for _, name := range []string{typ.String(), strings.ToUpper(typ.String()), strings.ToLower(typ.String())} {
			if got, err := ParseType(name); got != typ || err != nil {
				t.Errorf("ParseType(%q): got %v, %v", name, got, err)
			}
		}
	}
	if _, err := ParseType("q4_k_m"); err == nil || !strings.Contains(err.Error(), "known: f32, f16, q4_0") {
		t.Errorf("unknown name: got %v", err)
	}
	for _, tt := range []struct {
		typ  Type
		want float64
	}{{F32, 32}, {Q4_0, 4.5}, {Q4_K, 4.5}, {Q6_K, 6.5625}, {IQ1_S, 1.5625}, {MXFP4, 4.25}, {Type(77), 0}} {
		if got := tt.typ.BitsPerWeight(); got != tt.want {
			t.Errorf("%v: got %g bits a weight, want %g", tt.typ, got, tt.want)
		}
	}
	if Type(77).String() != "type 77" || Type(77).Known() || Type(77).BlockSize() != 0 {
		t.Error("an unknown type has properties")
	}
}

// The table against the text of the pinned ggml: numbers from ggml.h, names and block sizes from ggml.c, struct sizes
// from the assertions of ggml-common.h.
func TestTypesOfModule(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ollama/ollama").Output()
	if err != nil {
		t.Fatalf("find the module that carries ggml: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "ml", "backend", "ggml", "ggml")
	read := func(elem ...string) string {
		b, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	numbers := map[string]Type{}
	for _, m := range regexp.MustCompile(`(?m)^\s+GGML_TYPE_(\w+)\s+= (\d+),`).FindAllStringSubmatch(
		read("include", "ggml.h"), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		numbers[m[1]] = Type(n)
	}
	if numbers["COUNT"] != maxType {
		t.Errorf("GGML_TYPE_COUNT: got %d, want %d", numbers["COUNT"], maxType)
	}
	delete(numbers, "COUNT")
	if len(numbers) != len(typeTable) {
		t.Errorf("ggml has %d types, the table %d", len(numbers), len(typeTable))
	}
	blocks := map[string]int{"1": 1, "QK_K": 256}
	common := read("src", "ggml-common.h")
	for _, m := range regexp.MustCompile(`#define (QK\w+) (\d+)`).FindAllStringSubmatch(common, -1) {
		blocks[m[1]], _ = strconv.Atoi(m[2])
	}
	traits := regexp.MustCompile(`\[GGML_TYPE_(\w+)\]\s*=\s*\{\s*\.type_name\s*=\s*"([^"]+)",` +
		`\s*\.blck_size\s*=\s*(\w+),\s*\.type_size\s*=\s*sizeof\((\w+)\)`)
	found := 0
	for _, m := range traits.FindAllStringSubmatch(read("src", "ggml.c"), -1) {
		typ, ok := numbers[m[1]]
		if !ok {
			t.Errorf("ggml.c describes GGML_TYPE_%s, which ggml.h has not", m[1])
			continue
		}
		found++
		if typ.String() != m[2] || typ.BlockSize() != blocks[m[3]] {
			t.Errorf("type %d: got %s, %d elements a block, want %s, %d", uint32(typ), typ, typ.BlockSize(), m[2],
				blocks[m[3]])
		}
		if want := sizeOf(t, common, m[4], blocks); typ.BlockBytes() != want {
			t.Errorf("%s: got %d bytes a block, want %d", typ, typ.BlockBytes(), want)
		}
	}
	if found != len(typeTable) {
		t.Errorf("%d of %d types found in ggml.c", found, len(typeTable))
	}
}

// sizeOf evaluates the assertion about a block struct's size, a sum of products of names and numbers, from left to
// right with C's precedence.
func sizeOf(t *testing.T, common, name string, blocks map[string]int) int {
	t.Helper()
	if n, ok := map[string]int{"float": 4, "ggml_fp16_t": 2, "ggml_bf16_t": 2, "int8_t": 1, "int16_t": 2, "int32_t": 4,
		"int64_t": 8, "double": 8}[name]; ok {
		return n
	}
	m := regexp.MustCompile(`static_assert\(sizeof\(` + name + `\) == ([^,]+),`).FindStringSubmatch(common)
	if m == nil {
		t.Fatalf("ggml-common.h asserts no size of %s", name)
	}
	s := m[1]
	for from, to := range map[string]string{
		"sizeof(ggml_half)": "2", "sizeof(float)": "4", "sizeof(uint8_t)": "1", "sizeof(uint16_t)": "2",
		"sizeof(int16_t)": "2", "sizeof(uint32_t)": "4",
		"IQ3S_N_SCALE": "QK_K/64", "K_SCALE_SIZE": "12",
	} {
		s = strings.ReplaceAll(s, from, to)
	}
	p := &sum{t: t, s: strings.ReplaceAll(s, " ", ""), names: blocks}
	n := p.sum()
	if p.s != "" {
		t.Fatalf("size of %s: %q is left of %q", name, p.s, m[1])
	}
	return n
}

type sum struct {
	t     *testing.T
	s     string
	names map[string]int
}

func (p *sum) op(ops string) byte {
	if p.s != "" && strings.IndexByte(ops, p.s[0]) >= 0 {
		c := p.s[0]
		p.s = p.s[1:]
		return c
	}
	return 0
}

func (p *sum) sum() int {
	n := p.product()
	for {
		switch p.op("+-") {
		case '+':
			n += p.product()
		case '-':
			n -= p.product()
		default:
			return n
		}
	}
}

func (p *sum) product() int {
	n := p.atom()
	for {
		switch p.op("*/") {
		case '*':
			n *= p.atom()
		case '/':
			n /= p.atom()
		default:
			return n
		}
	}
}

func (p *sum) atom() int {
	if p.op("(") != 0 {
		n := p.sum()
		if p.op(")") == 0 {
			p.t.Fatalf("no ) before %q", p.s)
		}
		return n
	}
	word := regexp.MustCompile(`^\w+`).FindString(p.s)
	p.s = p.s[len(word):]
	if n, err := strconv.Atoi(word); err == nil {
		return n
	}
	n, ok := p.names[word]
	if !ok {
		p.t.Fatalf("unknown name %q", word)
	}
	return n
}
