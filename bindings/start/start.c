#include "start.h"

#ifdef __linux__ // elsewhere the limit is not held to

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

// Before main, in which Go's runtime begins.
__attribute__((constructor)) static void begin(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= GT_START_LEAST) {
        return;
    }
    dprintf(STDERR_FILENO,
            "ggtune: the limit on virtual memory (ulimit -v) is %llu kB; to begin it takes at least %llu kB, "
            "most of which is reserved and not used; raise the limit, or limit what is used "
            "(systemd-run --user -p MemoryMax=...)\n",
            (unsigned long long)limit.rlim_cur / 1024, (unsigned long long)GT_START_LEAST / 1024);
    _exit(1);
}

#endif
