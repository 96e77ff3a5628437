package gguf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// SHA256 is the hash of the file's bytes, in hexadecimal; of a split model, of its parts one after the other. It reads
// the open file, not the mapping, so that hashing does not make the weights resident. On cancel it returns
// context.Cause(ctx).
func (f *File) SHA256(ctx context.Context) (string, error) {
	h := sha256.New()
	// large enough that system calls cost nothing beside hashing, small enough to cancel at once
	buf := make([]byte, 1<<20)
	for _, p := range f.parts {
		for off := int64(0); ; {
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			n, err := f.readAt(p, buf, off)
			h.Write(buf[:n])
			off += int64(n)
			if err == io.EOF {
				break
			}
			if err != nil {
				return "", fmt.Errorf("hash %s: %w", p.path, err)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (f *File) readAt(p *part, buf []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return 0, ErrClosed
	}
	return p.f.ReadAt(buf, off)
}
