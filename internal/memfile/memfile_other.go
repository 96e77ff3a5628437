//go:build !linux

package memfile

import "os"

func create() (*File, error) {
	f, err := os.CreateTemp("", "ggtune-*")
	if err != nil {
		return nil, err
	}
	return &File{f: f, path: f.Name(), remove: true}, nil
}
