package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// sniff says what a file that does not begin with "GGUF" looks like, and what to do about it.
func sniff(b []byte) string {
	for _, s := range []struct{ magic, what string }{
		{"PK\x03\x04", "a zip archive, probably PyTorch weights; convert the model to GGUF with llama.cpp's " +
			"convert_hf_to_gguf.py"},
		{"version https://git-lfs", "a git-lfs pointer, not the file itself; run git lfs pull"},
		{"\x1f\x8b", "a gzip archive; unpack it first"},
		{"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"},
		{"7z\xbc\xaf\x27\x1c", "a 7-zip archive; unpack it first"},
		{"\x89HDF", "an HDF5 (Keras) file; convert the model to GGUF"},
		{"FUGG", "a GGUF with its magic reversed, for a big-endian machine; get the little-endian file"},
		{"lmgg", "a model in the old ggml format of 2023; get a GGUF of the model"},
		{"fmgg", "a model in the old ggmf format of 2023; get a GGUF of the model"},
		{"tjgg", "a model in the old ggjt format of 2023; get a GGUF of the model"},
		{"algg", "an adapter in the old ggla format of 2023; convert it to GGUF"},
		{"PAR1", "a Parquet file, which is data, not a model"},
		{"\x80\x02", "a Python pickle, probably PyTorch weights; convert the model to GGUF with llama.cpp's " +
			"convert_hf_to_gguf.py"},
	} {
		if bytes.HasPrefix(b, []byte(s.magic)) {
			return s.what
		}
	}
	// safetensors: the length of a JSON header in 8 bytes, then the header.
	if len(b) > 9 && binary.LittleEndian.Uint64(b) < 1<<32 && b[8] == '{' {
		return "a safetensors file; its folder becomes a GGUF file by ggtune convert FOLDER -o model.gguf"
	}
	head := bytes.ToLower(bytes.TrimLeft(b[:min(len(b), 256)], "\xef\xbb\xbf \t\r\n"))
	switch {
	case bytes.HasPrefix(head, []byte("<!doctype")), bytes.HasPrefix(head, []byte("<html")),
		bytes.HasPrefix(head, []byte("<?xml")):
		return "a web page, probably an error page saved under this name; download the file again, from its direct link"
	case bytes.HasPrefix(head, []byte("{")), bytes.HasPrefix(head, []byte("[")):
		return "JSON text; a model or an adapter is expected here, not data or a configuration"
	case len(bytes.Trim(b[:min(len(b), 4096)], "\x00")) == 0:
		return "all zero bytes, as an interrupted download leaves; download it again"
	}
	return fmt.Sprintf("nothing known: it begins with %q", b[:min(len(b), 16)])
}
