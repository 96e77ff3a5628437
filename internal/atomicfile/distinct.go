package atomicfile

import (
	"fmt"
	"os"
)

// Distinct refuses an output that is one of the files which are read, under whatever name.
func Distinct(out string, read ...string) error {
	there, err := os.Stat(out)
	if err != nil {
		return nil // it is to be made
	}
	for _, path := range read {
		if here, err := os.Stat(path); err == nil && os.SameFile(here, there) {
			return fmt.Errorf("write %s: it is a file that is being read (%s); give another name", out, path)
		}
	}
	return nil
}
