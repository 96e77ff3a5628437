package merge

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/ggtune/ggtune/engine/gguf"
)

// Holds says whether the model at path is the base with that adapter and no other merged into it, as trained: by what
// it says of its making, with the hashes of both. Where there is no such file, it is not.
func Holds(ctx context.Context, path, base, adapter string) (bool, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	f, err := gguf.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	first := mergedKey(0)
	if !f.Has(keyMergedBase) || !f.Has(first+"sha256") || f.Has(mergedKey(1)+"sha256") {
		return false, nil
	}
	if scale, err := f.Float32(first + "scale"); err != nil || scale != 1 {
		return false, err
	}
	for _, of := range []struct{ key, path string }{{first + "sha256", adapter}, {keyMergedBase, base}} {
		said, err := f.String(of.key)
		if err != nil {
			return false, err
		}
		if is, err := fileSHA256(ctx, of.path); err != nil || is != said {
			return false, err
		}
	}
	return true, nil
}
