#ifndef GT_START_H
#define GT_START_H

// The least address space to begin in, bytes. Go's runtime reserves 0.7 GB at once, and ends with a dump and exit code
// 2 where it cannot; below 1.5 GB it may end so a little later, when it starts threads. (Measured with Go 1.26 on 2
// cores.)
#define GT_START_LEAST 2000000000

#endif
