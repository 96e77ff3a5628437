// Command shape writes the model that `ggtune bench --shape NAME --type TYPE` generates to a file, for other programs
// to be measured on, with other whole numbers in its metadata if wanted:
//
//	go run ./scripts/shape tinyllama-1.1b q8_0 model.gguf
//	go run ./scripts/shape gemma3-1b q8_0 model.gguf attention.sliding_window=1024
//	go run ./scripts/shape qwen3-30b-a3b q4_k_m model.gguf block_count=4
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/ggtune/ggtune/finetune/bench"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/shape SHAPE TYPE FILE [KEY=N ...]")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "shape:", err)
		os.Exit(1)
	}
}

func write(shape, typ, path string, settings []string) error {
	keys := map[string]any{}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("reading %q: expected KEY=N, with a whole number", s)
		}
		keys[key] = n
	}
	return bench.Target{Shape: shape, Type: typ}.Write(context.Background(), path, keys)
}
