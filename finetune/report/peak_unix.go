//go:build unix

package report

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// PeakBytes is the most memory the process has had resident, or 0 where the system does not say. Linux's getrusage
// gives a process that another one started the greater of its own and that one's, so there it is read from /proc.
func PeakBytes() int64 {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		if n, ok := highWater(string(b)); ok {
			return n
		}
	}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(u.Maxrss) // bytes there, 1024 bytes elsewhere
	}
	return int64(u.Maxrss) * 1024
}

// highWater reads VmHWM of proc(5)'s status, in bytes.
func highWater(status string) (int64, bool) {
	for line := range strings.Lines(status) {
		value, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		return n * 1024, err == nil && n > 0
	}
	return 0, false
}
