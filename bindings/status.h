// What a call across the border leaves for Go: a code and a message. Go owns the structure, C fills it during the call.
#ifndef GT_STATUS_H
#define GT_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Mirrored by bindings.Code.
enum {
    GT_OK = 0,
    GT_FAILED,    // the library reported failure
    GT_INVALID,   // an argument is out of range; nothing was called
    GT_NO_MEMORY, // memory could not be had
    GT_MISSING,   // a table of the library lacks a key that the input asks for (std::out_of_range)
    GT_EXCEPTION, // any other C++ exception
    // an assertion of ggml or llama.cpp failed; the objects of the call are unusable except for freeing them
    GT_ASSERTION,
    GT_ABORTED,   // stopped on request
    GT_LOST,      // a mapped file lost pages meanwhile (fault.h): whatever was computed is worthless
    GT_NOT_FINITE, // a result is no number
};

typedef struct gt_status {
    int32_t code;
    char    message[764]; // zero-terminated UTF-8, cut off if longer; empty when code is GT_OK
} gt_status;

// gt_fail fills st in the way of printf. It returns code.
int gt_fail(gt_status * st, int code, const char * format, ...) __attribute__((format(printf, 3, 4)));

// gt_install puts our log sink and our assertion hook into ggml and llama.cpp, in place of whatever was there.
void gt_install(void);

// The log: the last GT_LOG_LINES lines that ggml and llama.cpp wrote, oldest first, each with a serial number from 0.
// No line is ever printed. All three functions may be called from any thread.
enum { GT_LOG_LINES = 256, GT_LOG_WIDTH = 496 };

// gt_log_next returns the serial number that the next line will have.
uint64_t gt_log_next(void);

// gt_log_read copies line number serial, zero-terminated, to text, which has room for GT_LOG_WIDTH bytes, and its level
// (ggml_log_level) to level. It returns 0 if that line has been overwritten or is not yet written, else 1.
int gt_log_read(uint64_t serial, int * level, char * text);

// gt_log_errors appends to text, which holds size bytes, the errors that the calling thread has logged since serial,
// joined by "; ". Where text is still empty then, the warnings.
void gt_log_errors(uint64_t serial, char * text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
