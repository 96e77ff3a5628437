package convert

import (
	"context"
	"fmt"
	"strings"

	"github.com/ggtune/ggtune/bindings/llama"
	"github.com/ggtune/ggtune/engine/gguf"
	"github.com/ggtune/ggtune/engine/hub"
	"github.com/ggtune/ggtune/internal/count"
)

// A FolderJob is a GGUF model to be written as a folder of Hugging Face's.
type FolderJob struct {
	In  string
	Out string // must not exist
	// Type is what matrices are stored in: f32, f16 or bf16. Default "": what they are in, and f16 where that is
	// quantized.
	Type string
	// PartBytes bounds a file of weights. Default 0: 5 GB, as transformers has it.
	PartBytes int64
}

const usualPart = 5e9

// Folder converts a model. A tokenizer that llama.cpp reads otherwise than transformers would, and metadata that
// changes what is computed and has no place in the folder, are refused before anything is written; other metadata is
// noted.
func Folder(ctx context.Context, job FolderJob) (*ModelResult, error) {
	f, err := gguf.Open(job.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.CheckRuns(); err != nil {
		return nil, err
	}
	if err := f.CheckTokenizer(); err != nil {
		return nil, err
	}
	v, err := llama.LoadVocab(job.In)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	m, err := hub.FromGGUF(f, job.Type, hub.Reading{BOS: v.BOS(), EOS: v.EOS(), UNK: v.UNK(), AddBOS: v.AddBOS(),
		AddEOS: v.AddEOS()})
	if err != nil {
		return nil, err
	}
	r := &ModelResult{Input: job.In, Output: job.Out, Arch: m.Arch(), Type: m.Type().String()}
	if r.Compared, r.Notes, err = compareTokenizer(job.In, m.Tokenizer, v); err != nil {
		return nil, err
	}
	if len(m.LeftOut) > 0 {
		r.Notes = append(r.Notes, "a folder has no place for "+strings.Join(m.LeftOut, ", "))
	}
	if job.PartBytes == 0 {
		job.PartBytes = usualPart
	}
	if err := m.Save(ctx, nil, job.Out, job.PartBytes); err != nil {
		return nil, err
	}
	if m.Dequantized > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%s of quantized numbers became %s: rounding changed the "+
			"weights by %.2g %% (root mean square); what quantization took is not won back",
			count.Of(m.Dequantized, "tensor"), r.Type, 100*m.Rounded.RMS()))
	}
	r.Tensors, r.Bytes = m.Tensors, m.Bytes
	return r, nil
}
