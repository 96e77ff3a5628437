package corpus

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ggtune/ggtune/finetune/config"
)

// bytesPerToken is what a token may take as long as the run lasts: four bytes of its number and one of its mark, and
// what is kept of examples and rows beside (5.6 measured, of examples of 180 tokens).
const bytesPerToken = 6.5

// TestMemoryOfRows: of the data nothing stays in memory but its tokens.
func TestMemoryOfRows(t *testing.T) {
	words := strings.Repeat("once upon ", 60)
	for name, row := range map[string]string{
		"text":       `{"text": "%d ` + words + `"}`,
		"completion": `{"prompt": "%d ` + words + `", "completion": "` + words + `"}`,
		"messages": `{"messages": [{"role": "user", "content": "%d ` + words +
			`"}, {"role": "assistant", "content": "` + words + `"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for i := range 1500 {
				lines = append(lines, fmt.Sprintf(row, i))
			}
			before := live()
			s, rows, err := textOf(t, barTemplate, func(c *config.Config) { c.SeqLen = 512 }, lines...)
			if err != nil {
				t.Fatal(err)
			}
			tokens := rows.Train.Counts.Tokens + rows.Held.Counts.Tokens
			if got := float64(live()-before) / float64(tokens); got > bytesPerToken {
				t.Errorf("%d tokens take %.2f bytes each, want at most %v", tokens, got, bytesPerToken)
			} else {
				t.Logf("%d tokens take %.2f bytes each", tokens, got)
			}
			runtime.KeepAlive(lines)
			runtime.KeepAlive(s)
			runtime.KeepAlive(rows)
		})
	}
}

// live is the memory, in bytes, that is in use.
func live() int64 {
	runtime.GC()
	runtime.GC() // what the first found unused and had a cleanup is freed by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
