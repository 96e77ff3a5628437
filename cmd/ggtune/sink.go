package main

import (
	"io"
	"sync"
	"unicode/utf8"

	"github.com/ggtune/ggtune/internal/visible"
)

// A sink is standard output or standard error as every command writes to it. It remembers that it could not be written,
// so that the command fails at its end however it prints, and shows as escapes the characters that are none and change
// how those around them are shown: what is printed holds text from strangers' files.
type sink struct {
	w    io.Writer
	mu   sync.Mutex // rate's page and its writer tell of themselves at once
	held []byte     // the beginning of a character whose end is still to be written
	err  error      // the first
}

// Write implements io.Writer. Of an error the rest of the output is dropped.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	text := append(s.held, p...)
	s.held = nil
	if cut := cutCharacter(text); cut > 0 {
		s.held = append(s.held, text[len(text)-cut:]...)
		text = text[:len(text)-cut]
	}
	if _, s.err = io.WriteString(s.w, visible.Escape(string(text))); s.err != nil {
		return 0, s.err
	}
	return len(p), nil
}

// close writes what is held of a character that never ended, and gives the first error.
func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && len(s.held) > 0 {
		_, s.err = s.w.Write(s.held)
		s.held = nil
	}
	return s.err
}

// Fd is the file's descriptor, by which isTerminal knows; of what is no file, one that no file has.
func (s *sink) Fd() uintptr {
	if f, ok := s.w.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// verbatim is w without escapes, for JSON, whose strings must come back as they were, and for text that a program
// reads. Errors are remembered all the same.
func verbatim(w io.Writer) io.Writer {
	if s, ok := w.(*sink); ok {
		return plain{s}
	}
	return w
}

// modelText is w for what a model writes: a program that reads it gets it as it is, a person sees escapes.
func modelText(w io.Writer) io.Writer {
	if isTerminal(w) {
		return w
	}
	return verbatim(w)
}

type plain struct{ s *sink }

func (p plain) Write(b []byte) (int, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.err != nil {
		return 0, p.s.err
	}
	n, err := p.s.w.Write(b)
	p.s.err = err
	return n, err
}

// cutCharacter is the number of bytes at the end of b that begin a character and do not end it.
func cutCharacter(b []byte) int {
	for n := 1; n <= min(len(b), utf8.UTFMax-1); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if utf8.FullRune(b[len(b)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}
