// What happens when the processor refuses an instruction in C code, and pages of mapped files that are gone.
#ifndef GT_FAULT_H
#define GT_FAULT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The exit code of a process that a fault ends, where gt_end_on_fault was called.
enum { GT_EXIT_FAULT = 70 };

// On Linux gt_pages_lost counts the pages of mapped files that C code found gone since the process began: a file was
// made shorter, or its disk failed. Each was replaced by zeros, so that the thread that read it, whichever it is, goes
// on: what is computed meanwhile is worthless, and whoever asked for it must compare the count before and after.
// Elsewhere such a page is a fault.
uint64_t gt_pages_lost(void);

// gt_end_on_fault makes a fault that nothing can mend (a bad pointer in C, a failed assertion, an instruction that this
// processor lacks, a fatal error of Go's runtime) write one line and end the process with GT_EXIT_FAULT. It is for
// programs; a library leaves to its host how a process dies. Call it once, after Go's runtime has begun.
void gt_end_on_fault(void);

// gt_ends_on_fault says whether gt_end_on_fault was called.
int gt_ends_on_fault(void);

#ifdef __cplusplus
}
#endif
#endif
