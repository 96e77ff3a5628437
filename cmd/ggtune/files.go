package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ggtune/ggtune/engine/gguf"
)

// maxSmall is the most bytes of a file that is read whole: a prompt, a report.
const maxSmall = 16 << 20

// refuseExisting keeps a command from replacing a file that the user did not say may go (--force), and from beginning
// work whose result has no place.
func refuseExisting(c *cli.Context, path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir := filepath.Dir(path)
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("write %s: the directory %s does not exist; make it first, or correct the name", path,
				dir)
		}
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", path, err)
	case st.IsDir():
		return fmt.Errorf("write %s: it is a directory; give a file name", path)
	case !c.Bool("force"):
		return fmt.Errorf("write %s: it exists; give another name, or --force to replace it", path)
	}
	return nil
}

// modelParts are the files of a model, which an output must not be.
func modelParts(path string) ([]string, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	return f.Parts(), f.Close()
}
