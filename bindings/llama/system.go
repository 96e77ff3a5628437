//go:build system_llama

package llama

// The headers of the llama.cpp that third_party/ggml links.

/*
#cgo pkg-config: llama
#cgo CPPFLAGS: -DGT_SYSTEM_LLAMA
*/
import "C"
