// Package bindings knows the border with ggml and llama.cpp: what is declared of them, how their failures become
// errors, and where their log lines go. It does not know models, graphs or tokens: those are in its subpackages.
package bindings

/*
#cgo CXXFLAGS: -std=c++17 -Wall -Wextra
#include <stdlib.h>
#include "fault.h"
#include "status.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	_ "github.com/ggtune/ggtune/third_party/ggml" // ggml and llama.cpp themselves
)

// The supplier's own package hooks a Go function into ggml's log when it is initialised. This package imports it, so
// this runs afterwards and takes its place: no Go function is called from C, and nothing is printed behind the caller's
// back.
func init() { C.gt_install() }

// ExitFault is the exit code of a process that EndOnFault ends.
const ExitFault = C.GT_EXIT_FAULT

// EndOnFault makes a fault in C code that nothing can mend, or a fatal error of Go's runtime with
// debug.SetTraceback("crash"), write one line and end the process with ExitFault. It is for a program's beginning; a
// library leaves that to its host.
func EndOnFault() { C.gt_end_on_fault() }

// ErrClosed is the error of every use of a handle after its Close.
var ErrClosed = errors.New("already closed")

// Code classifies a failed call. It mirrors the enumeration of status.h.
type Code int32

// The codes.
const (
	OK        Code = C.GT_OK
	Failed    Code = C.GT_FAILED    // the library reported failure
	Invalid   Code = C.GT_INVALID   // an argument is out of range; nothing was called
	NoMemory  Code = C.GT_NO_MEMORY // memory could not be had
	Missing   Code = C.GT_MISSING   // a table of the library lacks a key that the input asks for
	Exception Code = C.GT_EXCEPTION // any other C++ exception
	// an internal check of the library failed; only Close is left to the objects of the call
	Assertion Code = C.GT_ASSERTION
	Aborted   Code = C.GT_ABORTED // stopped on request
	// a mapped file was changed, or its disk failed; what was computed meanwhile is worthless
	Lost      Code = C.GT_LOST
	NotFinite Code = C.GT_NOT_FINITE // a result is no number
)

// Error is a failed call: what was being done, the kind of failure, and the library's own words, which include the
// errors it logged during the call.
type Error struct {
	Op      string
	Code    Code
	Message string
}

// Error returns "op: message".
func (e *Error) Error() string { return e.Op + ": " + e.Message }

// Is makes errors.Is match any *Error whose Code equals target's, if target names no Op.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Op == "" && t.Code == e.Code
}

// Errors to match with errors.Is.
var (
	ErrAborted   error = &Error{Code: Aborted}
	ErrNoMemory  error = &Error{Code: NoMemory}
	ErrLost      error = &Error{Code: Lost}
	ErrNotFinite error = &Error{Code: NotFinite}
)

// A LogLine is one line that ggml or llama.cpp logged.
type LogLine struct {
	Serial uint64 // counts from 0 over the life of the process
	Level  int    // ggml's: 1 debug, 2 information, 3 warning, 4 error
	Text   string // without newline
}

// Log returns the logged lines numbered since and above that are still kept (the last few hundred), oldest first. It is
// safe for concurrent use. To follow the log, ask again from the last line's Serial+1.
func Log(since uint64) []LogLine {
	next := uint64(C.gt_log_next())
	if next > C.GT_LOG_LINES && since < next-C.GT_LOG_LINES {
		since = next - C.GT_LOG_LINES
	}
	var lines []LogLine
	text := (*C.char)(C.malloc(C.GT_LOG_WIDTH))
	defer C.free(unsafe.Pointer(text))
	for ; since < next; since++ {
		var level C.int
		if C.gt_log_read(C.uint64_t(since), &level, text) != 0 {
			lines = append(lines, LogLine{Serial: since, Level: int(level), Text: C.GoString(text)})
		}
	}
	return lines
}

// LogNext returns the serial number of the next line to be logged.
func LogNext() uint64 { return uint64(C.gt_log_next()) }

// CheckPath reports whether a path can be handed to C, where a zero byte would end it early.
func CheckPath(path string) error {
	if path == "" {
		return errors.New("the file name is empty")
	}
	for i := range len(path) {
		if path[i] == 0 {
			return fmt.Errorf("the file name %q holds a zero byte, which no file name may", path)
		}
	}
	return nil
}
