package data_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/ggtune/ggtune/finetune/data"
)

// TestRoom: all compressed files of a dataset share what they may take, in memory and at all.
func TestRoom(t *testing.T) {
	dir := t.TempDir()
	row := `{"text": "` + strings.Repeat("x", 1000) + `"}`
	for _, name := range []string{"a.jsonl.gz", "b.jsonl.gz", "c.jsonl.gz"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(gz(t, row)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tmp := t.TempDir()
	d := open(t, data.Options{InMemory: 2500, TempDir: tmp}, dir)
	if left, _ := os.ReadDir(tmp); len(left) != 1 {
		t.Errorf("got %d temporary files, want 1: two of three files fit into memory", len(left))
	}
	if got := all(t, d); len(got) != 3 {
		t.Errorf("got %d examples, want 3", len(got))
	}
	_, err := data.Open(context.Background(), []string{dir}, data.Options{MaxInflated: 2500, TempDir: tmp})
	if err == nil ||
		!strings.Contains(err.Error(), "c.jsonl.gz: expanding it: it expands beyond the limit of 2500 bytes for all") {
		t.Errorf("got %v, want that the third is too much", err)
	}
}

// TestNoRoom: an expanded file that cannot be written says what helps.
func TestNoRoom(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	_, err := data.Open(context.Background(), []string{write(t, "a.jsonl.gz", gz(t, `{"text": "one"}`))},
		data.Options{InMemory: 1, TempDir: none})
	if err == nil || !strings.Contains(err.Error(), "a.jsonl.gz: expanding it: ") ||
		!strings.Contains(err.Error(), "TMPDIR names another folder") {
		t.Errorf("got %v", err)
	}
}

// TestStop: reading ends with the context wherever it is, also where no record is found for long.
func TestStop(t *testing.T) {
	stop := errors.New("stop")
	blank := strings.Repeat("\n", 4<<20)
	for name, content := range map[string]string{
		"a.jsonl": blank, "a.jsonl.gz": gz(t, blank), "a.jsonl.zst": zst(t, blank), "a.csv": "text" + blank,
		"a.txt": blank, "a.json": "[" + blank, "one.json": "{" + blank,
		"a.parquet": parquetFile(t,
			[]parquetRow{{ID: 1, Messages: []parquetMessage{{"user", "q"}, {"assistant", "a"}}}}),
	} {
		ctx := &countdown{Context: context.Background(), after: 2, cause: stop}
		d, err := data.Open(ctx, []string{write(t, name, content)}, data.Options{})
		if err == nil {
			d.Close()
		}
		if !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want the cause of the stop", name, err)
		}
	}
}

// A countdown is a context that ends when it has been asked often enough.
type countdown struct {
	context.Context
	after int
	cause error
}

func (c *countdown) Err() error {
	if c.after--; c.after < 0 {
		return c.cause
	}
	return nil
}

// TestParquetBombs: what takes little in a file and much in memory is refused before it is read.
func TestParquetBombs(t *testing.T) {
	type wide struct{ Text, B, C, D, E, F, G, H, I, J string }
	big := strings.Repeat("x", 1<<12)
	type many struct {
		Text  string
		Zeros []bool `parquet:",list"`
	}
	type again struct {
		Text string
		Same []string `parquet:",list,dict"`
	}
	same := make([]string, 100)
	for i := range same {
		same[i] = big
	}
	for _, c := range []struct {
		name, content, want string
		record              int // MaxRecord
	}{
		{"pages of many columns", packed(t, wide{big, big, big, big, big, big, big, big, big, big}),
			"the largest pages of row group 0 have", 2000},
		{"values in a list", packed(t, many{"a", make([]bool, 5000)}),
			"the lists of row group 0 have 5000 values, which one row could hold; at most 4096 are accepted", 4096},
		{"one value of a dictionary many times", packed(t, again{"a", same}),
			"a.parquet:1: the row is longer than 65536 bytes", 1 << 16},
	} {
		o := data.Options{Columns: map[string]string{"text": "Text"}}
		path := write(t, "a.parquet", c.content)
		open(t, o, path) // within the limits
		o.MaxRecord = c.record
		if _, err := data.Open(context.Background(), []string{path}, o); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s (%d bytes): got %v, want %s", c.name, len(c.content), err, c.want)
		}
	}
}

// packed writes a compressed Parquet file of one row.
func packed[T any](t *testing.T, row T) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, parquet.Compression(&parquet.Snappy))
	if _, err := w.Write([]T{row}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
