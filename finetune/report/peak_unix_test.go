//go:build unix

package report

import "testing"

func TestHighWater(t *testing.T) {
	for _, tc := range []struct {
		status string
		want   int64
	}{{"Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n", 1234 * 1024}, {"Name:\tx\n", 0}, {"VmHWM:\t? kB\n", 0}} {
		got, ok := highWater(tc.status)
		if ok != (tc.want > 0) || ok && got != tc.want {
			t.Errorf("%q: %d %v, want %d", tc.status, got, ok, tc.want)
		}
	}
}
