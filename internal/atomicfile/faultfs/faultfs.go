// Package faultfs wraps an atomicfile.FS so that a test can make each file operation fail in turn, or end the process
// at it and lose what was not flushed. It knows nothing of what is written.
package faultfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/ggtune/ggtune/internal/atomicfile"
)

// Mode is what happens at the chosen operation.
type Mode int

const (
	// Fail makes that one operation return an error; later ones work. A failing Write has written half its bytes.
	Fail Mode = iota
	// Kill makes that operation and every later one fail, as if the process had died just before finishing it.
	Kill
	// PowerCut is Kill, and file contents that were not flushed by Sync are lost: such files end up empty, or as they
	// were before they were appended to.
	PowerCut
)

// FS counts the operations that pass through it. Reads of the directory state (Lstat, ReadDir) count too: they can fail
// as well. It is safe for concurrent use.
type FS struct {
	base atomicfile.FS
	at   int // operation to fail, from 1; 0 never
	mode Mode
	err  error

	mu       sync.Mutex
	n        int
	hit      bool
	log      []string
	unsynced map[string]int64 // files with contents not yet flushed, and the bytes of them that are
}

// New wraps base (nil: the real file system). The at-th operation, counted from 1, fails in the given mode with err
// (nil: ENOSPC); at 0 nothing fails and operations are only counted.
func New(base atomicfile.FS, at int, mode Mode, err error) *FS {
	if base == nil {
		base = atomicfile.OS
	}
	if err == nil {
		err = syscall.ENOSPC
	}
	return &FS{base: base, at: at, mode: mode, err: err, unsynced: map[string]int64{}}
}

// Ops is the number of operations asked for so far.
func (f *FS) Ops() int { f.mu.Lock(); defer f.mu.Unlock(); return f.n }

// Hit says whether the chosen operation has been reached.
func (f *FS) Hit() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.hit }

// Log lists the operations in order, such as "create x" or "sync x", by base name.
func (f *FS) Log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

// step counts one operation and returns its error, if it is to fail; half says that this is the very operation that
// fails, so that a Write may do half of it.
func (f *FS) step(op, name string) (half bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	f.log = append(f.log, op+" "+filepath.Base(name))
	switch {
	case f.at == 0 || f.n < f.at, f.n > f.at && f.mode == Fail:
		return false, nil
	}
	if f.n == f.at {
		f.hit = true
	}
	return f.n == f.at, &fs.PathError{Op: op, Path: name, Err: f.err}
}

// Crash ends the simulated process: after PowerCut it cuts off what was not flushed. Call it before looking at
// what is left on the disk.
func (f *FS) Crash() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mode != PowerCut {
		return nil
	}
	for name, flushed := range f.unsynced {
		if err := os.Truncate(name, flushed); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("lose the contents of %s: %w", name, err)
		}
	}
	return nil
}

func (f *FS) setUnsynced(name string, flushed int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unsynced[name] = flushed
}

func (f *FS) setSynced(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unsynced, name)
}

// Create implements atomicfile.FS.
func (f *FS) Create(name string, perm fs.FileMode) (atomicfile.WriteFiler, error) {
	if _, err := f.step("create", name); err != nil {
		return nil, err
	}
	w, err := f.base.Create(name, perm)
	if err != nil {
		return nil, err
	}
	f.setUnsynced(name, 0)
	return &file{fs: f, name: name, w: w}, nil
}

// OpenAppend implements atomicfile.FS.
func (f *FS) OpenAppend(name string) (atomicfile.WriteFiler, error) {
	if _, err := f.step("append", name); err != nil {
		return nil, err
	}
	st, err := f.base.Lstat(name)
	if err != nil {
		return nil, err
	}
	w, err := f.base.OpenAppend(name)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, name: name, w: w, flushed: st.Size()}, nil
}

// Mkdir implements atomicfile.FS.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	if _, err := f.step("mkdir", name); err != nil {
		return err
	}
	return f.base.Mkdir(name, perm)
}

// Rename implements atomicfile.FS.
func (f *FS) Rename(oldpath, newpath string) error {
	if _, err := f.step("rename", newpath); err != nil {
		return err
	}
	if err := f.base.Rename(oldpath, newpath); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, flushed := range f.unsynced {
		if rest, ok := strings.CutPrefix(name, oldpath); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
			delete(f.unsynced, name)
			f.unsynced[newpath+rest] = flushed
		}
	}
	return nil
}

// Remove implements atomicfile.FS.
func (f *FS) Remove(name string) error {
	if _, err := f.step("remove", name); err != nil {
		return err
	}
	f.setSynced(name)
	return f.base.Remove(name)
}

// RemoveAll implements atomicfile.FS.
func (f *FS) RemoveAll(name string) error {
	if _, err := f.step("removeall", name); err != nil {
		return err
	}
	return f.base.RemoveAll(name)
}

// Lstat implements atomicfile.FS.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	if _, err := f.step("lstat", name); err != nil {
		return nil, err
	}
	return f.base.Lstat(name)
}

// ReadDir implements atomicfile.FS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := f.step("readdir", name); err != nil {
		return nil, err
	}
	return f.base.ReadDir(name)
}

// SyncDir implements atomicfile.FS.
func (f *FS) SyncDir(name string) error {
	if _, err := f.step("syncdir", name); err != nil {
		return err
	}
	return f.base.SyncDir(name)
}

type file struct {
	fs   *FS
	name string
	w    atomicfile.WriteFiler
	// flushed is how many bytes of the file a power cut leaves: none of a new one, what was there before of an old one.
	flushed int64
}

func (w *file) Write(p []byte) (int, error) {
	half, err := w.fs.step("write", w.name)
	if err != nil {
		if !half {
			return 0, err
		}
		w.fs.setUnsynced(w.name, w.flushed)
		n, werr := w.w.Write(p[:len(p)/2])
		if werr != nil {
			return n, werr
		}
		return n, err
	}
	w.fs.setUnsynced(w.name, w.flushed)
	return w.w.Write(p)
}

func (w *file) Sync() error {
	if _, err := w.fs.step("sync", w.name); err != nil {
		return err
	}
	w.fs.setSynced(w.name)
	return w.w.Sync()
}

// Close always closes the real file, or tests would leak descriptors.
func (w *file) Close() error {
	_, err := w.fs.step("close", w.name)
	if cerr := w.w.Close(); err == nil {
		err = cerr
	}
	return err
}
