#include "fault.h"

#ifdef _WIN32

uint64_t gt_pages_lost(void) { return 0; }
void     gt_end_on_fault(void) {}
int      gt_ends_on_fault(void) { return 0; }

#else

#include <atomic>
#include <initializer_list>
#include <cstring>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

std::atomic<uint64_t> lost{0};
std::atomic<bool>     ends{false};
uintptr_t             page = 4096;
struct sigaction      before[65]; // the actions in force when the process began, by signal

// Everything below runs in a signal handler: no memory, no locks, no stdio.

void say(const char * text) {
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

const char * what(int sig) {
    switch (sig) {
    case SIGSEGV: return "ggtune: a fault in ggtune or a library (SIGSEGV, memory that is not there)";
    case SIGBUS: return "ggtune: a fault in ggtune or a library (SIGBUS, memory that cannot be read)";
    case SIGFPE: return "ggtune: a fault in ggtune or a library (SIGFPE, arithmetic)";
    case SIGILL: return "ggtune: a fault: this processor lacks an instruction that ggtune was compiled with (SIGILL)";
    default: return "ggtune: a fault in ggtune or a library (SIGABRT)";
    }
}

// replace puts zeros in place of a mapped page whose file no longer has it. The address is kept, so that the
// instruction that met the hole can be repeated; MAP_FIXED replaces nothing but the page that could not be read.
bool replace(void * address) {
    void * at = (void *)((uintptr_t)address & ~(page - 1));
    if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        return false;
    }
    lost.fetch_add(1);
    return true;
}

void on_fault(int sig, siginfo_t * info, void * context) {
#ifdef __linux__ // elsewhere a forbidden access has the same code, and must stay a fault
    if (sig == SIGBUS && info->si_code == BUS_ADRERR && replace(info->si_addr)) {
        return;
    }
#else
    (void)replace;
#endif
    const struct sigaction & old = before[sig];
    if ((old.sa_flags & SA_SIGINFO) && old.sa_sigaction) {
        old.sa_sigaction(sig, info, context); // a sanitizer's
        return;
    }
    if (ends) {
        say(what(sig));
        say("; files that were saved are whole; please report it with the command line to "
            "https://github.com/ggtune/ggtune/issues\n");
        _exit(GT_EXIT_FAULT);
    }
    struct sigaction dfl = {};
    dfl.sa_handler       = SIG_DFL;
    sigaction(sig, &dfl, nullptr); // the instruction is repeated, and the process dies of it
}

void install(int sig) {
    struct sigaction action = {};
    action.sa_sigaction     = on_fault;
    action.sa_flags         = SA_SIGINFO | SA_ONSTACK; // Go's threads have small stacks
    sigfillset(&action.sa_mask);
    sigaction(sig, &action, &before[sig]);
}

// Before main: Go's runtime keeps the actions that it finds, and hands on to them what happens in C code and on threads
// that are not its own (documentation of os/signal, "Go programs that use cgo or SWIG"). Faults in Go code stay with
// Go.
__attribute__((constructor)) void begin() {
    page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int sig : {SIGBUS, SIGSEGV, SIGFPE}) {
        install(sig);
    }
}

} // namespace

uint64_t gt_pages_lost(void) { return lost.load(); }

void gt_end_on_fault(void) {
    // Go does not hand these on, so its own actions are replaced. Nothing in Go needs them: its runtime raises SIGABRT
    // where a fatal error is to leave a core dump (runtime/debug.SetTraceback).
    for (int sig : {SIGABRT, SIGILL}) {
        install(sig);
        before[sig] = {};
    }
    ends = true;
}

int gt_ends_on_fault(void) { return ends; }

#endif
