package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ggtune/ggtune/engine/adapter"
)

// The names of a run's result, in its directory; an adapter's is also that of the adapter in a checkpoint.
const (
	AdapterFile = "adapter.gguf"
	ModelFile   = "model.gguf"
)

// FindAdapter gives the file of the adapter that path names: a file, the directory of a run, or that of a checkpoint.
// Of a run it is the one in its directory, which a run has that finished or was stopped, else the newest
// checkpoint's. A path that names nothing is given back as it is: who opens it says so.
func FindAdapter(path string) (string, error) {
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		return path, nil
	}
	own := filepath.Join(path, AdapterFile)
	if exists(own) {
		return own, nil
	}
	store := Store{Dir: filepath.Join(path, Dir)}
	ids, err := store.List()
	if err != nil {
		return "", err
	}
	for i := len(ids) - 1; i >= 0; i-- {
		if file := filepath.Join(store.Path(ids[i]), AdapterFile); exists(file) {
			return file, nil
		}
	}
	switch model := filepath.Join(path, ModelFile); {
	case adapter.IsPEFT(path):
		return "", fmt.Errorf("%s holds an adapter of PEFT's, and llama.cpp reads GGUF: ggtune convert %s "+
			"-m base.gguf -o adapter.gguf makes it one", path, path)
	case exists(model):
		return "", fmt.Errorf("%s holds a model that was trained itself, and no adapter; give it as the model: -m %s",
			path, model)
	case Is(path) || len(ids) > 0:
		return "", fmt.Errorf(
			"%s holds no adapter: a run with --tune full or part has none, and checkpoints of older versions were "+
				"written without; go on with the run (ggtune train --resume) and stop it again to get one", path)
	}
	return "", fmt.Errorf(
		"%s is a directory without an adapter; give an adapter's file, a run's directory or one of its "+
			"checkpoints", path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
