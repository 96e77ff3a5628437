package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ggtune/ggtune/finetune/report"
)

// jsonFlag is the option that every command has.
func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON on standard output and nothing else there"}
}

// printJSON writes one object as one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(verbatim(w))
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// isTerminal says whether a reader or writer is a terminal: progress bars are drawn only there, and only there is a
// person asked again.
func isTerminal(rw any) bool {
	f, ok := rw.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// screen describes a writer to those who draw on terminals.
func screen(w any) report.Screen {
	if !isTerminal(w) {
		return report.Screen{}
	}
	fd := int(w.(interface{ Fd() uintptr }).Fd())
	columns := func() int {
		n, _, err := term.GetSize(fd)
		if err != nil {
			return 0
		}
		return n
	}
	return report.Screen{Columns: columns, Colour: colours(os.Getenv)}
}

// printTable writes lines of names and what is said of them, so that they fit where w is a terminal. For a program a
// line stays a line.
func printTable(w io.Writer, text string) {
	if s := screen(w); s.Columns != nil && s.Columns() > 0 {
		text = wrapTable(text, s.Columns())
	}
	io.WriteString(w, text)
}

// colours says whether a terminal shows colours, and the user wants them (https://no-color.org).
func colours(env func(name string) string) bool {
	kind := env("TERM")
	return kind != "" && kind != "dumb" && env("NO_COLOR") == ""
}

// busy shows on the terminal of messages that what is under way, until stop is called; it may be called again.
func busy(c *cli.Context, what string) (stop func()) {
	return report.Wait(c.App.ErrWriter, screen(c.App.ErrWriter), what)
}

// byteCount writes a size as people read it.
func byteCount(n int64) string { return report.Bytes(n) }
