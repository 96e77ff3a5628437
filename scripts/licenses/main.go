// Command licenses writes the licences of everything that is linked into ggtune to cmd/ggtune/licenses.txt, which the
// binary carries (`ggtune version --licenses`). With -check it compares instead.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const target = "cmd/ggtune/licenses.txt"

func main() {
	check := flag.Bool("check", false, "fail if "+target+" is out of date, and write nothing")
	flag.Parse()
	text, err := collect()
	if err == nil && *check {
		var have []byte
		if have, err = os.ReadFile(target); err == nil && !bytes.Equal(have, text) {
			err = fmt.Errorf("%s does not name what is linked in now; run: make licenses", target)
		}
	} else if err == nil {
		err = os.WriteFile(target, text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "licenses:", err)
		os.Exit(1)
	}
}

// A module that is linked in, or a part of one under its own licence.
type module struct{ name, version, dir string }

// collect gathers the licence files of Go itself, of every module that cmd/ggtune's packages come from, and of the C
// and C++ code inside them. Platforms are joined, so that the result does not depend on where it runs.
func collect() ([]byte, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	modules := map[string]module{"Go": {"Go standard library and runtime", "", strings.TrimSpace(string(goroot))}}
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"} {
		goos, goarch, _ := strings.Cut(platform, "/")
		cmd := exec.Command("go", "list", "-deps", "-f",
			"{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/ggtune")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=1")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", platform, err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			if len(f) != 3 {
				continue
			}
			modules[f[0]] = module{f[0], f[1], f[2]}
			if f[0] == "github.com/ollama/ollama" {
				modules["ggml"] = module{"ggml", "in " + f[0] + " " + f[1], filepath.Join(f[2], "ml/backend/ggml/ggml")}
				modules["llama.cpp"] = module{"llama.cpp", "in " + f[0] + " " + f[1],
					filepath.Join(f[2], "llama/llama.cpp")}
			}
		}
	}
	var names []string
	for n := range modules {
		names = append(names, n)
	}
	slices.Sort(names)
	var b bytes.Buffer
	b.WriteString("ggtune is MIT licensed. It is linked with the following software, under these licences.\n")
	for _, n := range names {
		if err := appendLicense(&b, modules[n]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// appendLicense writes every licence file in the module's own directory, and in a folder "licenses" in it, of whose
// choices ggtune takes those that are not the GPL.
func appendLicense(b *bytes.Buffer, m module) error {
	var files []string
	for _, pattern := range []string{"*", "licenses/*"} {
		names, err := filepath.Glob(filepath.Join(m.dir, pattern))
		if err != nil {
			return fmt.Errorf("module %s: %w", m.name, err)
		}
		for _, name := range names {
			upper := strings.ToUpper(filepath.Base(name))
			isLicense := strings.HasPrefix(upper, "LICEN") || strings.HasPrefix(upper, "COPYING") ||
				strings.HasPrefix(upper, "NOTICE") || strings.HasPrefix(upper, "PATENTS")
			inFolder := pattern != "*" && !strings.HasPrefix(upper, "GPL")
			if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() && (isLicense || inFolder) {
				files = append(files, name)
			}
		}
	}
	if len(files) == 0 {
		return fmt.Errorf("module %s: no licence file in %s; look for its licence and name it in scripts/licenses",
			m.name, m.dir)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("module %s: %w", m.name, err)
		}
		rule := strings.Repeat("=", 100)
		fmt.Fprintf(b, "\n%s\n%s (%s)\n%s\n\n%s\n", rule, strings.TrimSpace(m.name+" "+m.version), filepath.Base(name),
			rule,
			strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	}
	return nil
}
