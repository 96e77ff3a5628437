package program

import (
	"strings"
	"sync"
	"unicode"

	"github.com/ggtune/ggtune/internal/visible"
)

// mostTail is how much of a program's standard error is kept, bytes: a stack of calls.
const mostTail = 2 << 10

// A tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	end []byte
	cut bool
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if over := len(t.end) - mostTail; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
		t.cut = true
	}
	return len(b), nil
}

// String gives what is kept, each line moved in.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ToValidUTF8(string(t.end), "\uFFFD")
	if _, rest, ok := strings.Cut(text, "\n"); ok && t.cut {
		text = rest // begin with a whole line
	}
	text = strings.TrimRight(strings.Map(printable, text), "\n")
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(visible.Escape(text), "\n", "\n  ")
}

// printable leaves out what moves a terminal's cursor or colours its text.
func printable(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\t' {
		return -1
	}
	return r
}
