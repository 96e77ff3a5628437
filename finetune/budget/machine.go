// Package budget says what a run takes, in memory and time, before it begins. It trains nothing.
package budget

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/ggtune/ggtune/finetune/config"
)

// PhysicalCores is the number of threads for --threads 0: two threads on one core only wait for each other.
func PhysicalCores() int {
	logical := runtime.GOMAXPROCS(0) // what the process may use, containers' limits included
	if n, err := cpu.Counts(false); err == nil && n > 0 {
		return min(n, logical, config.MaxThreads)
	}
	return min(logical, config.MaxThreads)
}

// FreeMemory is how many bytes the process may still take without the system running out, 0 where it does not say.
func FreeMemory() int64 {
	v, err := mem.VirtualMemory()
	if err != nil {
		return 0
	}
	free := int64(min(v.Available, 1<<62))
	// A container's limit is not in what the system says is available.
	if limit, used, ok := cgroupMemory("/sys/fs/cgroup"); ok {
		free = min(free, max(limit-used, 0))
	}
	return free
}

// cgroupMemory reads the limit of the process's control group (cgroup v2) and what of it is in use beside file caches.
func cgroupMemory(dir string) (limit, used int64, ok bool) {
	number := func(name string) (int64, bool) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return n, err == nil // "max" is no number: no limit
	}
	if limit, ok = number("memory.max"); !ok {
		return 0, 0, false
	}
	if used, ok = number("memory.current"); !ok {
		return 0, 0, false
	}
	if stat, err := os.ReadFile(filepath.Join(dir, "memory.stat")); err == nil {
		for _, line := range strings.Split(string(stat), "\n") {
			if s, found := strings.CutPrefix(line, "inactive_file "); found {
				if n, err := strconv.ParseInt(s, 10, 64); err == nil {
					used = max(used-n, 0)
				}
			}
		}
	}
	return limit, used, true
}
