// Package ggml brings ggml (CPU backend) and llama.cpp into the binary; it is the only package that names their
// supplier. It knows nothing of what is called in them: the declarations live in bindings.
package ggml

import (
	_ "github.com/ollama/ollama/llama/llama.cpp/src"      // llama.cpp
	_ "github.com/ollama/ollama/ml/backend/ggml/ggml/src" // ggml and its CPU backend
)
