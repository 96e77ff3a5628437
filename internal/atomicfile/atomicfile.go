// Package atomicfile knows how to make a file or a directory appear under its final name whole or not at all, whatever
// fails on the way. It does not know what is in them.
//
// Everything is written under a temporary name beside the final one, flushed, and renamed; then the directory is
// flushed. A process that dies on the way leaves only a temporary, which Sweep recognises and removes.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ggtune/ggtune/internal/regular"
)

// ErrClosed is returned by operations on a File or Dir that was committed or aborted.
var ErrClosed = errors.New("already committed or aborted")

// WriteFile writes data to path, replacing a regular file of that name. A nil fsys means OS.
func WriteFile(fsys FS, path string, data []byte, perm fs.FileMode) error {
	f, err := Create(fsys, path, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Append adds data to the end of a file that exists, and flushes it. Unlike all else here it is not all or nothing:
// after an error the file may hold data in part, or whole. Readers of such a file must know where its last whole record
// ends. A nil fsys means OS.
func Append(fsys FS, path string, data []byte) error {
	if fsys == nil {
		fsys = OS
	}
	w, err := fsys.OpenAppend(path)
	if err != nil {
		return explain("open", path, err)
	}
	if _, err := w.Write(data); err != nil {
		w.Close()
		return explain("write", path, err)
	}
	if err := w.Sync(); err != nil {
		w.Close()
		return explain("flush", path, err)
	}
	if err := w.Close(); err != nil {
		return explain("close", path, err)
	}
	return nil
}

// A File is being written under a temporary name until Commit gives it its own. It is not safe for concurrent use.
type File struct {
	fsys FS
	path string // final name
	tmp  string
	w    WriteFiler // nil once closed
	err  error      // the first failure: a file that lost bytes must not be committed
	done bool
}

// Create starts a file that will appear as path on Commit; a regular file of that name is replaced then, and its
// permissions are kept; a symbolic link is replaced, not followed. Without an existing file, perm is used (before
// umask). The caller commits or aborts:
//
//	f, err := atomicfile.Create(nil, path, 0o666)
//	if err != nil { return err }
//	defer f.Abort() // does nothing after Commit
func Create(fsys FS, path string, perm fs.FileMode) (*File, error) {
	if fsys == nil {
		fsys = OS
	}
	switch st, err := fsys.Lstat(path); {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("write %s: it is a directory; name a file", path)
	case err == nil && st.Mode()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0:
		return nil, fmt.Errorf("write %s: it is %s, not a regular file; name another file", path,
			regular.Kind(st.Mode()))
	case err == nil && st.Mode().IsRegular():
		perm = st.Mode().Perm()
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, explain("write", path, err)
	}
	tmp := tempName(path)
	w, err := fsys.Create(tmp, perm)
	if err != nil {
		return nil, explain("create", path, err)
	}
	return &File{fsys: fsys, path: path, tmp: tmp, w: w}, nil
}

// Path is the final name.
func (f *File) Path() string { return f.path }

// Write appends p. After an error the file can only be aborted.
func (f *File) Write(p []byte) (int, error) {
	if f.done {
		return 0, fmt.Errorf("write %s: %w", f.path, ErrClosed)
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.w.Write(p)
	if err != nil {
		f.err = explain("write", f.path, err)
		return n, f.err
	}
	return n, nil
}

// Commit flushes the file, gives it its final name and flushes the directory. If it fails, the final name still has
// what it had before, except when only the last flush failed: then the new file is whole and in place, but a power cut
// may undo the rename, and the error says so.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.path, ErrClosed)
	}
	if f.err != nil {
		f.Abort()
		return f.err
	}
	if err := f.w.Sync(); err != nil {
		f.Abort()
		return explain("flush", f.path, err)
	}
	w := f.w
	f.w = nil
	if err := w.Close(); err != nil {
		f.Abort()
		return explain("close", f.path, err)
	}
	if err := f.fsys.Rename(f.tmp, f.path); err != nil {
		f.Abort()
		return explain("rename", f.path, err)
	}
	f.done = true
	return syncParent(f.fsys, f.path)
}

// Abort drops the file; after Commit or Abort it does nothing. What cannot be removed is left for Sweep.
func (f *File) Abort() {
	if f == nil || f.done {
		return
	}
	f.done = true
	if f.w != nil {
		f.w.Close()
		f.w = nil
	}
	// The failure that led here is the one to report; a temporary that stays is recognised later.
	_ = f.fsys.Remove(f.tmp)
}

func syncParent(fsys FS, path string) error {
	dir := filepath.Dir(path)
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("%s is written, but its directory could not be flushed to disk (%w): after a power cut it "+
			"may be missing; check the disk", path, err)
	}
	return nil
}
