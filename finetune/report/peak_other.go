//go:build !unix

package report

// PeakBytes is the most memory the process has had resident, or 0 where the system does not say.
func PeakBytes() int64 { return 0 }
