package data

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Options say how data is read. The zero value recognises everything by content.
type Options struct {
	// Format forces a record format by name (see Formats). Default "": recognised by the names of the fields.
	Format string
	// Columns gives the data's own names for fields: {"completion": "canonical_solution"} reads the column
	// canonical_solution as completion. Default: none.
	Columns map[string]string
	// Ignore names fields that may be left out: they are neither read nor named as unread. Default: none.
	Ignore []string
	// Split says how plain text is cut into documents: "auto" (default: at lines "<|endoftext|>" where the file has
	// them, else the file is one document; where prompts are wanted each line is one), "file", "paragraph" (blank
	// lines), "line", or any other text: the separator itself.
	Split string
	// MaxDocument is the longest piece of plain text given as one example, bytes; a longer document is cut at a
	// paragraph or line (Example.Continues). Default 1 MiB, at least 1 KiB.
	MaxDocument int
	// MaxRecord is the longest record (line, row, element) accepted, bytes. Default 64 MiB.
	MaxRecord int
	// MaxInflated bounds what a compressed or Parquet file may expand to, bytes. Default 16 GiB.
	MaxInflated int64
	// InMemory is the largest expanded file kept in memory, bytes; a larger one goes to a temporary file. Default 64
	// MiB.
	InMemory int
	// TempDir is where temporary files go. Default: the system's.
	TempDir string
	// ReplaceInvalid puts U+FFFD in the place of bytes that are not UTF-8, instead of refusing them.
	ReplaceInvalid bool
	// Strict refuses the data where anything would be left out: a record, the end of an answer, a field that nothing
	// reads.
	Strict bool
	// Instructions says how Natural Instructions tasks are written.
	Instructions InstructionOptions
	// ChatChoices makes multiple choice conversations. Default: literal text.
	ChatChoices bool
	// Want says what kind of example is looked for. Default WantAnswers.
	Want Want
	// BestWorst makes one pair of a ranked list, its best and its worst answer, in place of all pairs of unequal rank.
	BestWorst bool
	// Each gives every answer of a list, or document, once and by itself, in the place of pairs.
	Each bool
	// Margins has pairs say by how much the chosen answer is better, and groups by how much a text that belongs to the
	// anchor is above those that do not, and refuses data that does not say it.
	Margins bool
	// Held says that what is read is held out: of a folder of BEIR's, see BEIRHeld, and not BEIRLearned.
	Held bool
}

// A Want is what a method trains on.
type Want uint8

// The wants.
const (
	WantAnswers  Want = iota // KindMessages, KindCompletion and KindText
	WantPairs                // KindPair
	WantVerdicts             // KindVerdict; a pair gives two, its chosen answer desirable and its rejected one not
	WantChoices              // KindChoice
	WantPrompts              // KindPrompt: of any format but multiple choice the prompt, with its row (Dataset.Row)
	// KindGroup and KindLikeness, of formats that give nothing else.
	WantGroups
	WantLikenesses
)

// Texts says that it is of texts, of each of which a vector is made.
func (w Want) Texts() bool { return w == WantGroups || w == WantLikenesses }

// String says what a method with this want learns from.
func (w Want) String() string {
	switch w {
	case WantAnswers:
		return "plain examples"
	case WantPairs:
		return "pairs"
	case WantVerdicts:
		return "verdicts"
	case WantChoices:
		return "multiple choice"
	case WantPrompts:
		return "prompts"
	case WantGroups:
		return "texts that belong together"
	case WantLikenesses:
		return "two texts with a score"
	}
	return fmt.Sprintf("want %d", uint8(w))
}

// An UnsuitedError is data of which nothing that is wanted can be made.
type UnsuitedError struct {
	Gives  Want // what would be made of it
	Reason string
}

func (e *UnsuitedError) Error() string { return e.Reason }

// InstructionOptions say how Natural Instructions tasks become prompts.
type InstructionOptions struct {
	// Examples is the number of the task's positive examples shown in the prompt. Default 2; -1 for none.
	Examples int
	// Negative is the number of its negative examples shown. Default 0.
	Negative int
	// NoDefinition leaves out the task's definition and its other explanations, so that the examples alone explain it.
	NoDefinition bool
	// Chat makes each instance a conversation (the prompt is the user's turn), for models with a chat template.
	// Default: literal text, prompt and completion.
	Chat bool
}

// Limits and defaults of Options.
const (
	defaultMaxDocument = 1 << 20
	minMaxDocument     = 1 << 10
	defaultMaxRecord   = 64 << 20
	defaultMaxInflated = 16 << 30
	defaultInMemory    = 64 << 20
	defaultExamples    = 2
)

// withDefaults fills in the defaults.
func (o Options) withDefaults() Options {
	if o.Split == "" {
		o.Split = "auto"
	}
	if o.Split == "auto" && o.Want == WantPrompts {
		o.Split = "line"
	}
	if o.MaxDocument == 0 {
		o.MaxDocument = defaultMaxDocument
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = defaultMaxRecord
	}
	if o.MaxInflated == 0 {
		o.MaxInflated = defaultMaxInflated
	}
	if o.InMemory == 0 {
		o.InMemory = defaultInMemory
	}
	switch {
	case o.Instructions.Examples == 0:
		o.Instructions.Examples = defaultExamples
	case o.Instructions.Examples < 0:
		o.Instructions.Examples = 0
	}
	return o
}

// Validate reports every fault of the options.
func (o Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Format != "" {
		if _, err := formats.Get(o.Format); err != nil {
			errs = append(errs, err)
		}
	}
	if o.MaxDocument != 0 && o.MaxDocument < minMaxDocument {
		bad("the longest document is %d bytes; expected at least %d", o.MaxDocument, minMaxDocument)
	}
	if o.MaxRecord < 0 || o.MaxInflated < 0 || o.InMemory < 0 {
		bad("the limits on records, expanded files and memory must not be negative")
	}
	if o.Instructions.Examples < -1 || o.Instructions.Negative < 0 {
		bad("the number of instruction examples must not be negative (-1: no positive examples)")
	}
	for to, from := range o.Columns {
		if to == "" || from == "" {
			bad("a column is renamed from %q to %q; expected two names", from, to)
		}
	}
	return errors.Join(errs...)
}

// An Error is a fault of the data at one place.
type Error struct {
	Source Source
	Column int // 1-based, bytes; 0: not known
	Reason string
	Err    error // what Reason is about, or nil
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	where := e.Source.String()
	if e.Source.Line == 0 {
		where = e.Source.File
	} else if e.Column > 0 && e.Source.Sub == 0 {
		where = fmt.Sprintf("%s:%d", where, e.Column)
	}
	return where + ": " + e.Reason
}

func errorf(src Source, format string, args ...any) *Error {
	return &Error{Source: src, Reason: fmt.Sprintf(format, args...)}
}

// quoted lists names for a message.
func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}
