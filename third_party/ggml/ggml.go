//go:build !system_llama

package ggml

import (
	_ "github.com/ollama/ollama/llama/llama.cpp/src"      // llama.cpp
	_ "github.com/ollama/ollama/ml/backend/ggml/ggml/src" // ggml and its CPU backend
)
