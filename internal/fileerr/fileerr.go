// Package fileerr words what kept a file from being opened, so that models, data and settings are missed in the same
// words. It opens nothing itself.
package fileerr

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Open is the error of a file that could not be opened or read: what, why, and how to mend it. The cause stays
// matchable.
func Open(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // it names the system call and the path once more
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.Contains(path, "://"):
		return fmt.Errorf("open %s: %w; nothing is downloaded: fetch it first, and name the file", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("open %s: %w; check the name", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open %s: %w; you may not read it, change its permissions", path, err)
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("open %s: %w; name a file in it", path, err)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
