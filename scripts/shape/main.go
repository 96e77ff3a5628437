// Command shape writes the model that `ggtune bench --shape NAME --type TYPE` generates to a file, for other programs
// to be measured on: go run ./scripts/shape tinyllama-1.1b q8_0 model.gguf
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ggtune/ggtune/finetune/bench"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/shape SHAPE TYPE FILE")
		os.Exit(2)
	}
	if err := (bench.Target{Shape: os.Args[1], Type: os.Args[2]}).Write(context.Background(), os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "shape:", err)
		os.Exit(1)
	}
}
