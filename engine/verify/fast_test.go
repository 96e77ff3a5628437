//go:build !slow

package verify_test

const slowTests = false
