package atomicfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ggtune/ggtune/internal/atomicfile"
	"github.com/ggtune/ggtune/internal/atomicfile/faultfs"
)

var modes = []struct {
	name string
	mode faultfs.Mode
}{{"fail", faultfs.Fail}, {"kill", faultfs.Kill}, {"power cut", faultfs.PowerCut}}

// writeThree writes data in three pieces, so that faults also fall between them.
func writeThree(fsys atomicfile.FS, path string, data []byte) error {
	f, err := atomicfile.Create(fsys, path, 0o666)
	if err != nil {
		return err
	}
	defer f.Abort()
	for i := range 3 {
		if _, err := f.Write(data[i*len(data)/3 : (i+1)*len(data)/3]); err != nil {
			return err
		}
	}
	return f.Commit()
}

func temps(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if atomicfile.IsTemp(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out
}

// Whatever operation fails, the final name holds the whole old or the whole new contents, and success means the new.
func TestFileEveryFault(t *testing.T) {
	oldData, newData := bytes.Repeat([]byte("old"), 1000), bytes.Repeat([]byte("new!"), 1000)
	for _, m := range modes {
		for _, exists := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/exists=%v", m.name, exists), func(t *testing.T) {
				for at := 1; ; at++ {
					dir := t.TempDir()
					path := filepath.Join(dir, "f.bin")
					if exists {
						if err := os.WriteFile(path, oldData, 0o644); err != nil {
							t.Fatal(err)
						}
					}
					ffs := faultfs.New(nil, at, m.mode, nil)
					err := writeThree(ffs, path, newData)
					if cerr := ffs.Crash(); cerr != nil {
						t.Fatal(cerr)
					}
					got, rerr := os.ReadFile(path)
					switch {
					case err == nil && !bytes.Equal(got, newData):
						t.Fatalf("operation %d: success, but the file has %d bytes, want %d", at, len(got),
							len(newData))
					case rerr != nil && (exists || !errors.Is(rerr, fs.ErrNotExist)):
						t.Fatalf("operation %d: %v", at, rerr)
					case rerr == nil && !bytes.Equal(got, newData) && !(exists && bytes.Equal(got, oldData)):
						t.Fatalf("operation %d: the file has %d bytes, neither old nor new; log %q", at, len(got),
							ffs.Log())
					}
					if err != nil && !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("operation %d: got error %v, want one that wraps ENOSPC", at, err)
					}
					if err != nil && m.mode == faultfs.Fail {
						if left := temps(t, dir); len(left) > 0 {
							t.Fatalf("operation %d: temporaries %q left after a failure that could be cleaned up", at,
								left)
						}
					}
					if !ffs.Hit() {
						if err != nil {
							t.Fatalf("no fault, got %v", err)
						}
						if at < 8 {
							t.Fatalf("only %d operations seen: %q", at-1, ffs.Log())
						}
						break
					}
				}
			})
		}
	}
}

// Whatever operation fails, what was in the file before stays, and success means that the new bytes follow it.
func TestAppendEveryFault(t *testing.T) {
	const before, more = "first line\n", "second line\n"
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			for at := 1; ; at++ {
				path := filepath.Join(t.TempDir(), "f.jsonl")
				if err := os.WriteFile(path, []byte(before), 0o666); err != nil {
					t.Fatal(err)
				}
				ffs := faultfs.New(nil, at, m.mode, nil)
				err := atomicfile.Append(ffs, path, []byte(more))
				if cerr := ffs.Crash(); cerr != nil {
					t.Fatal(cerr)
				}
				got, rerr := os.ReadFile(path)
				switch {
				case rerr != nil:
					t.Fatal(rerr)
				case err == nil && string(got) != before+more:
					t.Fatalf("operation %d: success, but the file holds %q", at, got)
				case !strings.HasPrefix(before+more, string(got)) || len(got) < len(before):
					t.Fatalf("operation %d: the file holds %q, want %q and a part of %q", at, got, before, more)
				case err != nil && !errors.Is(err, syscall.ENOSPC):
					t.Fatalf("operation %d: got error %v, want one that wraps ENOSPC", at, err)
				}
				if !ffs.Hit() {
					if err != nil || at < 5 {
						t.Fatalf("after %d operations: %v", at-1, err)
					}
					break
				}
			}
		})
	}
	if err := atomicfile.Append(nil, filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %v, want fs.ErrNotExist", err)
	}
}

func TestFileOrder(t *testing.T) {
	dir := t.TempDir()
	ffs := faultfs.New(nil, 0, faultfs.Fail, nil)
	if err := atomicfile.WriteFile(ffs, filepath.Join(dir, "x"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range ffs.Log() {
		got = append(got, strings.Fields(l)[0])
	}
	want := []string{"lstat", "create", "write", "sync", "close", "rename", "syncdir"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("operations (-want +got):\n%s", d)
	}
	st, err := os.Stat(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("permissions: got %v, want 0600", st.Mode().Perm())
	}
}

func fillDir(fsys atomicfile.FS, path string) error {
	d, err := atomicfile.CreateDir(fsys, path)
	if err != nil {
		return err
	}
	defer d.Abort()
	if err := d.WriteFile("a.bin", bytes.Repeat([]byte("a"), 100)); err != nil {
		return err
	}
	if err := d.Mkdir("sub"); err != nil {
		return err
	}
	f, err := d.Create(filepath.Join("sub", "b.bin"))
	if err != nil {
		return err
	}
	_, werr := f.Write([]byte("first "))
	_, werr2 := f.Write([]byte("second"))
	if err := errors.Join(werr, werr2, f.Close()); err != nil {
		return err
	}
	return d.Commit()
}

// A directory under its final name is complete, whatever operation failed.
func TestDirEveryFault(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			for at := 1; ; at++ {
				dir := t.TempDir()
				path := filepath.Join(dir, "step-10")
				ffs := faultfs.New(nil, at, m.mode, nil)
				err := fillDir(ffs, path)
				if cerr := ffs.Crash(); cerr != nil {
					t.Fatal(cerr)
				}
				_, serr := os.Stat(path)
				if err == nil && serr != nil {
					t.Fatalf("operation %d: success, but %v", at, serr)
				}
				if serr == nil {
					a, aerr := os.ReadFile(filepath.Join(path, "a.bin"))
					b, berr := os.ReadFile(filepath.Join(path, "sub", "b.bin"))
					if aerr != nil || berr != nil || len(a) != 100 || string(b) != "first second" {
						t.Fatalf("operation %d: incomplete directory: a %d bytes %v, b %q %v; log %q", at, len(a), aerr,
							b, berr, ffs.Log())
					}
				}
				if err != nil && m.mode == faultfs.Fail {
					if left := temps(t, dir); len(left) > 0 {
						t.Fatalf("operation %d: temporaries %q left", at, left)
					}
				}
				if !ffs.Hit() {
					if err != nil {
						t.Fatalf("no fault, got %v", err)
					}
					break
				}
			}
		})
	}
}

func TestDirRefusals(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "d")
	if err := fillDir(nil, path); err != nil {
		t.Fatal(err)
	}
	if _, err := atomicfile.CreateDir(nil, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("existing directory: got %v, want fs.ErrExist", err)
	}

	if _, err := atomicfile.CreateDir(nil, path+"/"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("existing directory with a slash: got %v, want fs.ErrExist", err)
	}
	if err := fillDir(nil, filepath.Join(dir, "slash")+"/"); err != nil {
		t.Errorf("a name that ends in a slash: %v", err)
	} else if _, err := os.Stat(filepath.Join(dir, "slash")); err != nil {
		t.Error(err)
	}

	d, err := atomicfile.CreateDir(nil, filepath.Join(dir, "late"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.Path(), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("directory that came meanwhile: got %v, want fs.ErrExist", err)
	}

	d, err = atomicfile.CreateDir(nil, filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err == nil || !strings.Contains(err.Error(), "still open") {
		t.Errorf("commit with an open file: got %v", err)
	}
	f.Close()
	if _, err := d.Create("y"); !errors.Is(err, atomicfile.ErrClosed) {
		t.Errorf("create after commit: got %v, want ErrClosed", err)
	}

	d, err = atomicfile.CreateDir(nil, filepath.Join(dir, "escape"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	for _, name := range []string{"../x", "/etc/x", "a/../../x"} {
		if _, err := d.Create(name); err == nil {
			t.Errorf("name %q accepted", name)
		}
	}
	if left := temps(t, dir); len(left) != 1 {
		t.Errorf("temporaries: got %q, want the one still open", left)
	}
}

func TestFileRefusals(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path, want string
		is               error
	}{
		{"directory", dir, "it is a directory", nil},
		{"missing folder", filepath.Join(dir, "no", "f"), "must exist", fs.ErrNotExist},
		{"long name", filepath.Join(dir, strings.Repeat("x", 300)), "shorter name", syscall.ENAMETOOLONG},
		{"device", os.DevNull, "it is a device, not a regular file", nil},
		{"pipe", pipe, "it is a pipe, not a regular file", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := atomicfile.WriteFile(nil, tt.path, []byte("x"), 0o666)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		errno error
		want  string
	}{
		{syscall.ENOSPC, "free some space"}, {syscall.EDQUOT, "quota"}, {syscall.EROFS, "can be written"},
		{syscall.EACCES, "permissions"}, {syscall.EPERM, "permissions"}, {syscall.ENOENT, "no file can be made in"},
	} {
		err := atomicfile.WriteFile(faultfs.New(nil, 2, faultfs.Fail, tt.errno), filepath.Join(dir, "f"), nil, 0o666)
		if !errors.Is(err, tt.errno) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.errno, err, tt.want)
		}
		if strings.Contains(fmt.Sprint(err), "ggtmp") {
			t.Errorf("%v: the message names the temporary: %v", tt.errno, err)
		}
	}
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("temporaries left: %q", left)
	}
}

func TestFileAfterEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := atomicfile.Create(nil, path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if _, err := f.Write([]byte("x")); !errors.Is(err, atomicfile.ErrClosed) {
		t.Errorf("write after abort: got %v, want ErrClosed", err)
	}
	if err := f.Commit(); !errors.Is(err, atomicfile.ErrClosed) {
		t.Errorf("commit after abort: got %v, want ErrClosed", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("aborted file is there: %v", err)
	}
	var none *atomicfile.File
	none.Abort()
}

func TestSweep(t *testing.T) {
	if os.Getenv("ATOMICFILE_CHILD_DIR") != "" {
		// The child leaves a temporary file and directory behind, as a killed process would.
		dir := os.Getenv("ATOMICFILE_CHILD_DIR")
		if _, err := atomicfile.Create(nil, filepath.Join(dir, "left.gguf"), 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := atomicfile.CreateDir(nil, filepath.Join(dir, "left.d"))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.WriteFile("x", []byte("x")); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSweep$")
	cmd.Env = append(os.Environ(), "ATOMICFILE_CHILD_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	dead := temps(t, dir)
	if len(dead) != 2 {
		t.Fatalf("the child left %q, want 2 temporaries", dead)
	}
	live, err := atomicfile.Create(nil, filepath.Join(dir, "live"), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Abort()
	// Another process that lives (this one's parent), another host, an earlier process of our number, and users' own
	// files.
	host := strings.Split(strings.Split(dead[0], ".ggtmp-")[1], "-")[0]
	keep := []string{
		fmt.Sprintf(".a.ggtmp-%s-%d-0123456789abcdef-1", host, os.Getppid()),
		".a.ggtmp-00000000-999999999-0123456789abcdef-1",
		"a.ggtmp-x", ".hidden",
	}
	reused := fmt.Sprintf(".a.ggtmp-%s-%d-0123456789abcdef-1", host, os.Getpid())
	for _, name := range append(keep, reused) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := atomicfile.Sweep(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) != 3 {
		t.Errorf("removed %q, want the child's two and %s", removed, reused)
	}
	for _, name := range keep {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s was removed: %v", name, err)
		}
	}
	if err := live.Commit(); err != nil {
		t.Errorf("the live file: %v", err)
	}
}
