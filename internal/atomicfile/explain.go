package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// explain says what was being done, to what, and how to mend it. The cause stays matchable.
func explain(op, path string, err error) error {
	cause := err
	// The temporary's name in a *PathError or *LinkError is noise to the user.
	var pe *fs.PathError
	if errors.As(err, &pe) {
		cause = pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		cause = le.Err
	}
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, syscall.ENOSPC), isDiskFull(err):
		return fmt.Errorf("%s %s: %w: free some space on that disk or choose another folder", op, path, cause)
	case errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s %s: %w: your disk quota is used up; remove files or choose another folder", op, path,
			cause)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s %s: %w: choose a folder on a disk that can be written", op, path, cause)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %s: %w: you may not write in %s; choose a folder of your own or change its permissions",
			op, path, cause, dir)
	case errors.Is(err, fs.ErrNotExist) && isDir(dir): // as /proc is
		return fmt.Errorf("%s %s: %w: no file can be made in %s; choose another folder", op, path, cause, dir)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %s: %w: the folder %s must exist; make it first or correct the name", op, path, cause,
			dir)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%s %s: %w: choose a shorter name", op, path, cause)
	}
	return fmt.Errorf("%s %s: %w", op, path, cause)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// isDiskFull matches ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL, which Windows reports in place of ENOSPC.
func isDiskFull(err error) bool {
	return runtime.GOOS == "windows" && (errors.Is(err, syscall.Errno(39)) || errors.Is(err, syscall.Errno(112)))
}
