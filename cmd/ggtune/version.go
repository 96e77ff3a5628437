package main

import (
	_ "embed"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/urfave/cli/v2"
)

// licenses names what is linked into the binary, with the licence texts; scripts/licenses writes it.
//
//go:embed licenses.txt
var licenses string

// ggmlModule carries ggml and llama.cpp.
const ggmlModule = "github.com/ollama/ollama"

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the version, and with --licenses what is linked in",
		UsageText: "[--licenses] [--json]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "licenses", Usage: "print the licences of everything in this binary"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error { return printVersion(c, c.Bool("licenses")) },
	}
}

type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	GGML     string `json:"ggml"`
	CFlags   string `json:"cgo_cflags,omitempty"`
	Licenses string `json:"licenses,omitempty"`
}

// currentVersion reads what the Go tool stamped into the binary.
func currentVersion() versionInfo {
	v := versionInfo{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		GGML: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "CGO_CFLAGS":
			v.CFlags = s.Value
		}
	}
	for _, m := range info.Deps {
		if m.Path == ggmlModule {
			v.GGML = m.Path + " " + m.Version
		}
	}
	if b, installed, err := llama.System(); installed && err == nil {
		v.GGML = systemName(b)
	}
	return v
}

// systemName names the llama.cpp that is installed here.
func systemName(b llama.Build) string {
	name := "this system: "
	if b.Llama != "" {
		name += "llama.cpp " + b.Llama + ", "
	}
	return name + "ggml " + b.GGML + " (commit " + b.GGMLCommit + ")"
}

func printVersion(c *cli.Context, withLicenses bool) error {
	v := currentVersion()
	if c.Bool("json") {
		if withLicenses {
			v.Licenses = licenses
		}
		return printJSON(c.App.Writer, v)
	}
	w := c.App.Writer
	fmt.Fprintf(w, "ggtune %s (%s, %s)\n", v.Version, v.Platform, v.Go)
	fmt.Fprintf(w, "ggml and llama.cpp from %s\n", v.GGML)
	if v.CFlags != "" {
		fmt.Fprintf(w, "C flags: %s\n", v.CFlags)
	}
	if withLicenses {
		fmt.Fprintf(w, "\n%s", licenses)
	}
	return nil
}
