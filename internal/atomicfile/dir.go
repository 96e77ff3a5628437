package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// A Dir is a directory being filled under a temporary name until Commit gives it its own. It is not safe for concurrent
// use.
type Dir struct {
	fsys FS
	path string
	tmp  string
	err  error
	done bool
	// open counts files created and not yet closed: committing with one open would publish a half file.
	open int
	subs []string // subdirectories made, flushed by Commit
}

// CreateDir starts a directory that will appear as path on Commit. path must not exist: an existing directory is never
// replaced (errors.Is(err, fs.ErrExist)). It may end in a slash, as shells complete directories. A nil fsys means OS.
// The caller commits or aborts.
func CreateDir(fsys FS, path string) (*Dir, error) {
	if fsys == nil {
		fsys = OS
	}
	path = filepath.Clean(path)
	if err := refuseExisting(fsys, path); err != nil {
		return nil, err
	}
	tmp := tempName(path)
	if err := fsys.Mkdir(tmp, 0o777); err != nil {
		return nil, explain("create directory", path, err)
	}
	return &Dir{fsys: fsys, path: path, tmp: tmp}, nil
}

func refuseExisting(fsys FS, path string) error {
	switch _, err := fsys.Lstat(path); {
	case err == nil:
		return fmt.Errorf(
			"create directory %s: %w; an existing directory is not overwritten, name another or remove it", path,
			fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return explain("create directory", path, err)
	}
	return nil
}

// Path is the final name of the directory.
func (d *Dir) Path() string { return d.path }

// TempPath is where the directory's files lie until Commit, for writers that need a real path.
func (d *Dir) TempPath() string { return d.tmp }

// Create starts a new file in the directory. Its Close flushes it to disk.
func (d *Dir) Create(name string) (*DirFile, error) {
	path, err := d.inner("create", name)
	if err != nil {
		return nil, err
	}
	w, err := d.fsys.Create(path, 0o666)
	if err != nil {
		d.err = explain("create", filepath.Join(d.path, name), err)
		return nil, d.err
	}
	d.open++
	return &DirFile{d: d, name: filepath.Join(d.path, name), w: w}, nil
}

// WriteFile writes a whole file into the directory.
func (d *Dir) WriteFile(name string, data []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// Mkdir makes a subdirectory.
func (d *Dir) Mkdir(name string) error {
	path, err := d.inner("create directory", name)
	if err != nil {
		return err
	}
	if err := d.fsys.Mkdir(path, 0o777); err != nil {
		d.err = explain("create directory", filepath.Join(d.path, name), err)
		return d.err
	}
	d.subs = append(d.subs, path)
	return nil
}

func (d *Dir) inner(op, name string) (string, error) {
	switch {
	case d.done:
		return "", fmt.Errorf("%s %s: %w", op, filepath.Join(d.path, name), ErrClosed)
	case d.err != nil:
		return "", d.err
	case !filepath.IsLocal(name):
		return "", fmt.Errorf("%s %q in %s: the name leaves the directory", op, name, d.path)
	}
	return filepath.Join(d.tmp, name), nil
}

// Commit flushes the directory and gives it its final name. It fails, and the directory is dropped, if any write into
// it failed, if a file is still open, or if path has come into being meanwhile.
func (d *Dir) Commit() error {
	if d.done {
		return fmt.Errorf("commit %s: %w", d.path, ErrClosed)
	}
	if d.err == nil && d.open > 0 {
		d.err = fmt.Errorf("commit %s: %d files in it are still open; close them first", d.path, d.open)
	}
	if d.err == nil {
		d.err = d.publish()
	}
	if d.err != nil {
		d.Abort()
		return d.err
	}
	d.done = true
	return syncParent(d.fsys, d.path)
}

func (d *Dir) publish() error {
	for i := len(d.subs) - 1; i >= 0; i-- {
		if err := d.fsys.SyncDir(d.subs[i]); err != nil {
			return explain("flush", d.path, err)
		}
	}
	if err := d.fsys.SyncDir(d.tmp); err != nil {
		return explain("flush", d.path, err)
	}
	// rename(2) replaces an empty directory or, with a plain file in the way, fails unclearly: look first.
	if err := refuseExisting(d.fsys, d.path); err != nil {
		return err
	}
	if err := d.fsys.Rename(d.tmp, d.path); err != nil {
		return explain("rename", d.path, err)
	}
	return nil
}

// Abort drops the directory and all in it; after Commit or Abort it does nothing.
func (d *Dir) Abort() {
	if d == nil || d.done {
		return
	}
	d.done = true
	_ = d.fsys.RemoveAll(d.tmp)
}

// A DirFile is a file being written inside a Dir.
type DirFile struct {
	d    *Dir
	name string
	w    WriteFiler
}

// Write appends p. A failure also fails the directory's Commit.
func (f *DirFile) Write(p []byte) (int, error) {
	if f.w == nil {
		return 0, fmt.Errorf("write %s: %w", f.name, fs.ErrClosed)
	}
	n, err := f.w.Write(p)
	if err != nil {
		err = explain("write", f.name, err)
		f.d.err = errors.Join(f.d.err, err)
	}
	return n, err
}

// Close flushes the file to disk and closes it. A second Close does nothing.
func (f *DirFile) Close() error {
	if f.w == nil {
		return nil
	}
	w := f.w
	f.w = nil
	f.d.open--
	err := w.Sync()
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		err = explain("flush", f.name, err)
		f.d.err = errors.Join(f.d.err, err)
	}
	return err
}
