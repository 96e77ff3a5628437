// Package ggml brings ggml (CPU backend) and llama.cpp into the binary; it is the only package that names their
// suppliers: a Go module, or with the build tag system_llama the libraries that are installed. It knows nothing of what
// is called in them: the declarations live in bindings.
package ggml
