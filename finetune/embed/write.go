package embed

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/ggtune/ggtune/engine/safetensors"
	"github.com/ggtune/ggtune/finetune/vectors"
	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/stream"
)

// A Line is a text with its vector, as JSON has it.
type Line struct {
	Source string    `json:"source,omitempty"` // where the text is from
	Text   string    `json:"text"`
	Vector []float32 `json:"embedding"` // as OpenAI's API calls it
}

// A form is a form of files, by the end of their names.
type form struct {
	end   string
	write func(ctx context.Context, w io.Writer, m vectors.Matrix, line func(i int) Line) error
}

var forms = []form{{".npy", writeNPY}, {".safetensors", writeSafetensors}, {".jsonl", writeLines}}

// formOf finds that of a file by its name.
func formOf(path string) (form, error) {
	var ends []string
	for _, f := range forms {
		if strings.EqualFold(filepath.Ext(path), f.end) {
			return f, nil
		}
		ends = append(ends, f.end)
	}
	return form{}, fmt.Errorf("%s: the name does not say the file's form; expected one that ends in %s", path,
		strings.Join(ends, ", "))
}

// CheckName refuses a name of which WriteFile cannot make out a form.
func CheckName(path string) error {
	_, err := formOf(path)
	return err
}

// WriteFile writes vectors to a file, in the form that its name says: .npy and .safetensors (tensor "embeddings") are
// one matrix of 32-bit numbers, a row for each text; .jsonl has a line for each, with what line says of it.
func WriteFile(ctx context.Context, path string, m vectors.Matrix, line func(i int) Line) error {
	form, err := formOf(path)
	if err != nil {
		return err
	}
	f, err := atomicfile.Create(nil, path, 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	err = stream.Buffered(f, func(w io.Writer) error { return form.write(ctx, w, m, line) })
	if err != nil {
		return err
	}
	return f.Commit()
}

// writeNPY writes version 1.0 of NumPy's format (numpy/lib/format.py): what is before the numbers is whole blocks of 64
// bytes.
func writeNPY(_ context.Context, w io.Writer, m vectors.Matrix, _ func(int) Line) error {
	const block, before = 64, len("\x93NUMPY\x01\x00") + 2
	header := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", m.Len(), m.Width)
	n := before + len(header) + 1
	header += strings.Repeat(" ", (block-n%block)%block) + "\n"
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
	if _, err := w.Write(append(b, header...)); err != nil {
		return err
	}
	return binary.Write(w, binary.LittleEndian, m.Data)
}

func writeSafetensors(ctx context.Context, w io.Writer, m vectors.Matrix, _ func(int) Line) error {
	f := safetensors.Writer{Metadata: map[string]string{"format": "pt"}}
	if err := f.AddFloats("embeddings", []int64{int64(m.Len()), int64(m.Width)}, m.Data); err != nil {
		return err
	}
	return f.Write(ctx, w)
}

func writeLines(_ context.Context, w io.Writer, m vectors.Matrix, line func(int) Line) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range m.Len() {
		if err := enc.Encode(line(i)); err != nil {
			return err
		}
	}
	return nil
}
