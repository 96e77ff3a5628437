package finetune

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/ggtune/ggtune/engine"
	"github.com/ggtune/ggtune/finetune/config"
	"github.com/ggtune/ggtune/finetune/report"
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

// A budget is the memory of a run, decided before it begins.
type budget struct {
	keep  int64 // bytes for activations kept for the backward pass
	total int64 // bytes beside the mapped weights, optimizer included
}

// optimizerBytes is AdamW's two moments for each trained parameter.
const optimizerBytes = 2 * 4

// courtesy is the memory, in bytes, that a run takes to save time where the user has not said what it may take: a
// browser's worth. A 1.1B model recomputes most of its layers within it, and trains in its file's size and a gigabyte.
const courtesy = 1e9

// planMemory decides how much memory a session may keep activations in, and refuses a run that does not fit into free bytes
// (0: not known). shape gives the tokens and counted tokens of the largest micro-batch, and its longest row.
func planMemory(m *engine.Model, sc engine.SessionConfig, cfg *config.Config, tokens, counted, rowLen int, free int64) (budget, error) {
	sc.KeepBytes = 0
	f, err := engine.Plan(m, sc, tokens, counted, rowLen)
	if err != nil {
		return budget{}, err
	}
	least := f.Total() + optimizerBytes*f.Trained
	allowed := int64(cfg.Memory) * 1e6
	said := "--memory"
	switch {
	case allowed > 0 && free > 0 && free < allowed:
		allowed, said = free, "free memory"
	case allowed == 0:
		// What a run needs it takes; activations are kept only as far as nobody is likely to mind.
		allowed, said = min(max(least, min(free/2, courtesy)), free), "free memory"
		if free == 0 {
			allowed = least
		}
	}
	if least > allowed {
		return budget{}, fmt.Errorf("training %s takes %s beside the model file (%d parameters with their gradients and moments %s, a micro-batch of %d tokens %s), and %s is %s; %s",
			m.Path(), report.Bytes(least), f.Trained, report.Bytes(f.Params+optimizerBytes*f.Trained), tokens, report.Bytes(f.Work+f.Inputs), said, report.Bytes(allowed), fitting(m, sc, cfg, rowLen, allowed))
	}
	// The arena keeps what it needs whole layers at a time, so that less than this may be used.
	b := budget{keep: min(allowed-least, f.KeepAllSize)}
	sc.KeepBytes = b.keep
	if f, err = engine.Plan(m, sc, tokens, counted, rowLen); err != nil {
		return budget{}, err
	}
	b.total = f.Total() + optimizerBytes*f.Trained
	return b, nil
}

// crowded says that a run will read its model from disk over and over, "" if the mapped weights fit beside what it takes
// (or nobody knows: free is 0). All figures are bytes.
func crowded(model string, weights, total, free int64) string {
	if free == 0 || weights+total <= free {
		return ""
	}
	return fmt.Sprintf("%s (%s) and what training takes (%s) are more than the memory that is free (%s): the model will be read from disk again in every step, which is slow; close other programs, or take a smaller model",
		model, report.Bytes(weights), report.Bytes(total), report.Bytes(free))
}

// fitting says what would fit into the bytes allowed.
func fitting(m *engine.Model, sc engine.SessionConfig, cfg *config.Config, rowLen int, allowed int64) string {
	for n := rowLen; n >= 32; n /= 2 {
		f, err := engine.Plan(m, sc, n, n, n)
		if err == nil && f.Total()+optimizerBytes*f.Trained <= allowed {
			if n == rowLen {
				return fmt.Sprintf("--batch 1 would fit (with --accum %d it learns the same)", cfg.Accum*cfg.Batch)
			}
			return fmt.Sprintf("--batch 1 --seq-len %d would fit", n)
		}
	}
	if cfg.Full {
		return "train an adapter instead of the full model, or take a smaller model"
	}
	return "a smaller --rank, fewer --targets or a smaller model is needed"
}
