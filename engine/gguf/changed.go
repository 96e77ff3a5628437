package gguf

import (
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

// ErrChanged is matched by the error of a file that was changed while it was mapped: whatever was read since may be
// worthless.
var ErrChanged = errors.New("the file was changed while it was in use")

const mendChanged = "never copy over a model in use: copy to another name, then rename"

// CheckUnchanged says whether the file still has the size and the modification time that it had when it was opened. A
// file that was replaced by renaming another over it is unchanged: the old one lives on until Close. The error matches
// ErrChanged.
func (f *File) CheckUnchanged() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return fmt.Errorf("%s: %w", f.Path(), ErrClosed)
	}
	for _, p := range f.parts {
		now, err := p.f.Stat()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", p.path, err)
		case now.Size() != p.st.Size():
			return fmt.Errorf("%s: %w: it had %d bytes, and has %d; %s", p.path, ErrChanged, p.st.Size(), now.Size(),
				mendChanged)
		case !now.ModTime().Equal(p.st.ModTime()):
			return fmt.Errorf("%s: %w: it was written to at %s; %s", p.path, ErrChanged,
				now.ModTime().Format("15:04:05"), mendChanged)
		}
	}
	return nil
}

// reading runs read, Go code that reads the mapping m of the file at path, and makes an error of a page that is there
// no longer. C code has its own way (bindings/fault.h).
func reading(path string, m []byte, read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(m)))
		// The runtime's error of a fault says where it was.
		fault, ok := p.(interface{ Addr() uintptr })
		if !ok || fault.Addr() < begin || fault.Addr() >= begin+uintptr(len(m)) {
			panic(p)
		}
		err = fmt.Errorf("%s: %w: its byte %d is gone; %s", path, ErrChanged, fault.Addr()-begin, mendChanged)
	}()
	return read()
}
