//go:build system_llama

package ggml

/*
#cgo pkg-config: llama
#cgo LDFLAGS: -lllama -lggml -lggml-cpu -lggml-base -lstdc++ -lm -lpthread
*/
import "C"
