package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"github.com/rivo/uniseg"
	"github.com/urfave/cli/v2"
)

func init() { cli.HelpPrinter = printHelp }

// printHelp writes a help text as cli does, in lines that fit the terminal, or helpColumns where none says.
func printHelp(out io.Writer, templ string, data any) {
	var text bytes.Buffer
	cli.HelpPrinterCustom(&text, templ, data, nil)
	columns := helpColumns
	if s := screen(out); s.Columns != nil && s.Columns() > 0 {
		columns = s.Columns()
	}
	io.WriteString(out, wrapHelp(text.String(), columns))
}

const (
	helpColumns = 80
	// leastBeside is how much room there must be beside names for what they do; with less that goes below them.
	leastBeside = 30
)

// nameAndText matches a line of a table of options or commands.
var nameAndText = regexp.MustCompile(`^( +\S.*? {2,})(\S.*)$`)

// wrapHelp makes lines fit: paragraphs are filled anew, and what a table says of a name goes on below itself. Other
// indented lines are examples, which must stay whole to be copied.
func wrapHelp(text string, columns int) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for len(lines) > 0 {
		line := lines[0]
		row := nameAndText.FindStringSubmatch(line)
		n := 1
		fits := uniseg.StringWidth(line) <= columns
		narrow := row != nil && columns-uniseg.StringWidth(row[1]) < leastBeside
		switch {
		case narrow && (!fits || strings.HasPrefix(line, "  -")):
			out.WriteString(strings.TrimRight(row[1], " ") + "\n")
			fill(&out, strings.Repeat(" ", 6), row[2], columns)
		case row != nil && !fits:
			out.WriteString(row[1])
			var rest strings.Builder
			fill(&rest, strings.Repeat(" ", uniseg.StringWidth(row[1])), row[2], columns)
			out.WriteString(strings.TrimLeft(rest.String(), " "))
		case line == "" || line[0] == ' ':
			out.WriteString(line + "\n")
		default:
			for n < len(lines) && lines[n] != "" && lines[n][0] != ' ' {
				fits = fits && uniseg.StringWidth(lines[n]) <= columns
				n++
			}
			if fits {
				out.WriteString(strings.Join(lines[:n], "\n") + "\n")
			} else {
				fill(&out, "", strings.Join(lines[:n], " "), columns)
			}
		}
		lines = lines[n:]
	}
	return out.String()
}

// fill writes the words of text in lines of so many columns, each behind indent.
func fill(out *strings.Builder, indent, text string, columns int) {
	at := 0
	for _, word := range strings.Fields(text) {
		w := uniseg.StringWidth(word)
		switch {
		case at == 0:
			out.WriteString(indent)
			at = len(indent)
		case at+1+w > columns:
			out.WriteString("\n" + indent)
			at = len(indent)
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += w
	}
	out.WriteByte('\n')
}
