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
	// leastInTable is the same of figures and short words.
	leastInTable = 16
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
		switch {
		case row != nil &&
			(!fits || columns-uniseg.StringWidth(row[1]) < leastBeside && strings.HasPrefix(line, "  -")):
			fillRow(&out, row[1], row[2], columns, leastBeside)
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

// wrapTable makes the lines of a table of names and what is said of them fit; those that do already stay as they are.
func wrapTable(text string, columns int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		row := tableRow.FindStringSubmatch(line)
		switch {
		case uniseg.StringWidth(line) <= columns:
			out.WriteString(line + "\n")
		case row != nil:
			fillRow(&out, row[1], row[2], columns, leastInTable)
		default:
			fill(&out, line[:len(line)-len(strings.TrimLeft(line, " "))], line, columns)
		}
	}
	return out.String()
}

// tableRow matches a line of a table with a name and what is said of it.
var tableRow = regexp.MustCompile(`^( *\S.*? {2,})(\S.*)$`)

// fillRow writes what is said of a name, which stands with the spaces behind it, beside it, or below where fewer than
// so many columns are left there, or too few for the longest word.
func fillRow(out *strings.Builder, name, text string, columns, least int) {
	for _, word := range strings.Fields(text) {
		least = max(least, uniseg.StringWidth(word))
	}
	if columns-uniseg.StringWidth(name) < least {
		out.WriteString(strings.TrimRight(name, " ") + "\n")
		fill(out, strings.Repeat(" ", 6), text, columns)
		return
	}
	out.WriteString(name)
	var rest strings.Builder
	fill(&rest, strings.Repeat(" ", uniseg.StringWidth(name)), text, columns)
	out.WriteString(strings.TrimLeft(rest.String(), " "))
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
