package bench

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/report"
)

// peakBytes is the most memory the process has had resident. Linux's getrusage gives a process that another one started the greater of
// its own and that one's, so there it is read from /proc.
func peakBytes() (int64, error) {
	if b, err := os.ReadFile("/proc/self/status"); err == nil {
		if n, ok := highWater(string(b)); ok {
			return n, nil
		}
	}
	if n := report.PeakBytes(); n > 0 {
		return n, nil
	}
	return 0, errors.New("this system does not say how much memory a process has used")
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
