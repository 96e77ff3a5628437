//go:build unix

package report

import (
	"runtime"
	"syscall"
)

// PeakBytes is the most memory the process has had resident, or 0 where the system does not say.
func PeakBytes() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(u.Maxrss) // bytes there, 1024 bytes elsewhere
	}
	return int64(u.Maxrss) * 1024
}
