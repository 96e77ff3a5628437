package bench

import (
	"errors"

	"github.com/ggtune/ggtune/finetune/report"
)

// peakBytes is the most memory the process has had resident.
func peakBytes() (int64, error) {
	if n := report.PeakBytes(); n > 0 {
		return n, nil
	}
	return 0, errors.New("this system does not say how much memory a process has used")
}
