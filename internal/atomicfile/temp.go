package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
)

// A temporary's name is .NAME.ggtmp-HOST-PID-START-COUNT: HOST a hash of the host's name (on a shared disk another
// host's process numbers say nothing), PID the process, START a number drawn when the process started (in a container
// every run may have the same PID), COUNT its running number.
var (
	tempPattern = regexp.MustCompile(`^\..*\.ggtmp-([0-9a-f]{8})-([0-9]+)-([0-9a-f]{16})-[0-9]+$`)
	hostTag     = makeHostTag()
	startTag    = makeStartTag()
	tempCount   atomic.Uint64
)

func makeHostTag() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost" // then all hosts without a name count as one
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return fmt.Sprintf("%08x", h.Sum32())
}

func makeStartTag() string {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

func tempName(path string) string {
	base := filepath.Base(path)
	// Most file systems allow 255 bytes a name; the suffix takes at most 70.
	if len(base) > 180 {
		base = base[:180]
	}
	return filepath.Join(filepath.Dir(path),
		fmt.Sprintf(".%s.ggtmp-%s-%d-%s-%d", base, hostTag, os.Getpid(), startTag, tempCount.Add(1)))
}

// IsTemp says whether a file or directory name (without its folder) is one of this package's temporaries. Readers of a
// directory skip these.
func IsTemp(name string) bool { return tempPattern.MatchString(name) }

// Sweep removes from dir the temporaries that dead processes of this host left, and returns their paths. Temporaries of
// live processes and of other hosts stay. A nil fsys means OS.
func Sweep(fsys FS, dir string) (removed []string, err error) {
	if fsys == nil {
		fsys = OS
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, explain("read directory", dir, err)
	}
	var errs []error
	for _, e := range entries {
		if !abandoned(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := fsys.RemoveAll(path); err != nil {
			errs = append(errs, explain("remove leftover", path, err))
			continue
		}
		removed = append(removed, path)
	}
	return removed, errors.Join(errs...)
}

func abandoned(name string) bool {
	m := tempPattern.FindStringSubmatch(name)
	if m == nil || m[1] != hostTag {
		return false
	}
	pid, err := strconv.Atoi(m[2])
	if err != nil {
		return false
	}
	if pid == os.Getpid() {
		return m[3] != startTag
	}
	return !alive(pid)
}

// alive is true when in doubt: a leftover costs disk space, a removed live file costs work.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false // Windows: no such process
	}
	defer p.Release()
	err = p.Signal(syscall.Signal(0))
	return !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH)
}
