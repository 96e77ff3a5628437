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
	"github.com/shirou/gopsutil/v4/process"

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

// A footing is the program itself with what it has read, in bytes.
type footing struct {
	resident int64
	heap     int64 // of it, Go's heap with its garbage
	live     int64 // of that, what is in use (an adapter's numbers count whole, though zeros are not resident yet)
}

// measureProgram says what the program takes now.
func measureProgram() footing {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footing{resident: residentMemory(), heap: int64(m.HeapSys - m.HeapReleased), live: int64(m.HeapAlloc)}
}

// grown is what will be resident with so many bytes in use on Go's heap, which grows to twice as many before it is
// collected (GOGC).
func (f footing) grown(live int64) int64 { return f.resident - f.heap + max(f.heap, 2*live) }

// residentMemory is how many bytes of the process are in memory now, 0 where the system does not say.
func residentMemory() int64 {
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		return 0
	}
	m, err := self.MemoryInfo()
	if err != nil {
		return 0
	}
	return int64(min(m.RSS, 1<<62))
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
