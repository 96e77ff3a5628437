package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"
)

// refuseExisting keeps a command from replacing a file that the user did not say may go (--force).
func refuseExisting(c *cli.Context, path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
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
