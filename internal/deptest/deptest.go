// Package deptest holds the test that keeps imports pointing down and the folders as designed. It holds no code: run it
// with go test -count=1, for the test cache does not see the other packages' files.
package deptest
