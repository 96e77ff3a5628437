//go:build slow

package ggml

const slowTests = true
