package main

import (
	"runtime/debug"
	"testing"
)

func TestPaceMemory(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        int
	}{{"GOGC", "", gcPercent}, {"GOGC", "50", 77}, {"GOMEMLIMIT", "1GiB", 77}} {
		t.Run(c.name+c.value, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(c.name, c.value)
			was := debug.SetGCPercent(77)
			defer debug.SetGCPercent(was)
			paceMemory()
			if got := debug.SetGCPercent(77); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
