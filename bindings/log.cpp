#include "status.h"

#include "ggmlapi.h"
#include "llamaapi.h"

#include "fault.h"
#include "guard.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unistd.h>

namespace {

struct line {
    uint64_t     thread;
    int          level;
    char         text[GT_LOG_WIDTH];
};

std::mutex log_mutex;
line       log_lines[GT_LOG_LINES];
uint64_t   log_next = 0;

// The address of a thread-local variable names the thread; a later thread may get the same address, which is harmless:
// lines are asked for from the thread that wrote them, since the call under way.
thread_local char thread_mark;
// Open while the thread's last line ended without a newline: ggml writes long lines in pieces.
thread_local uint64_t open_line;
thread_local bool     has_open_line = false;

uint64_t thread_id() { return (uint64_t)(uintptr_t)&thread_mark; }

void append(char * dst, size_t size, const char * src, size_t n) {
    size_t have = strlen(dst);
    if (have + 1 >= size) {
        return;
    }
    if (n > size - 1 - have) {
        n = size - 1 - have;
    }
    memcpy(dst + have, src, n);
    dst[have + n] = 0;
}

void sink(enum ggml_log_level level, const char * text, void *) {
    std::lock_guard<std::mutex> lock(log_mutex);
    while (*text) {
        const char * end = strchr(text, '\n');
        size_t       n   = end ? (size_t)(end - text) : strlen(text);
        bool continued   = has_open_line && log_next - open_line <= GT_LOG_LINES;
        if (!continued && (n > 0 || !end)) {
            open_line     = log_next++;
            line & l      = log_lines[open_line % GT_LOG_LINES];
            l.thread      = thread_id();
            l.level       = level == GGML_LOG_LEVEL_CONT ? (int)GGML_LOG_LEVEL_INFO : (int)level;
            l.text[0]     = 0;
            continued     = true;
        }
        if (continued) {
            append(log_lines[open_line % GT_LOG_LINES].text, GT_LOG_WIDTH, text, n);
        }
        has_open_line = !end;
        text += end ? n + 1 : n;
    }
}

thread_local int guard_depth = 0;

// ggml calls this when an assertion fails, and would abort the process afterwards. Inside a guarded call the assertion
// becomes an exception, which the guard turns into a status. Anywhere else (a worker thread) nobody could catch it:
// what failed is printed, because ggml itself is silent where a hook is installed, and the process ends.
void assertion_failed(const char * message) {
    if (guard_depth > 0) {
        throw gt::assertion(message);
    }
    fprintf(stderr, "ggtune: an internal check of ggml failed: %s\n", message);
    if (gt_ends_on_fault()) {
        _exit(GT_EXIT_FAULT);
    }
}

} // namespace

namespace gt {
guard_scope::guard_scope() { guard_depth++; }
guard_scope::~guard_scope() { guard_depth--; }
} // namespace gt

void gt_install(void) {
    llama_log_set(sink, nullptr);
    ggml_set_abort_callback(assertion_failed);
}

uint64_t gt_log_next(void) {
    std::lock_guard<std::mutex> lock(log_mutex);
    return log_next;
}

int gt_log_read(uint64_t serial, int * level, char * text) {
    std::lock_guard<std::mutex> lock(log_mutex);
    if (serial >= log_next || log_next - serial > GT_LOG_LINES) {
        return 0;
    }
    const line & l = log_lines[serial % GT_LOG_LINES];
    *level = l.level;
    memcpy(text, l.text, GT_LOG_WIDTH);
    return 1;
}

void gt_log_errors(uint64_t serial, char * text, size_t size) {
    std::lock_guard<std::mutex> lock(log_mutex);
    if (log_next > GT_LOG_LINES && serial < log_next - GT_LOG_LINES) {
        serial = log_next - GT_LOG_LINES;
    }
    for (int level = GGML_LOG_LEVEL_ERROR; level >= GGML_LOG_LEVEL_WARN; level--) {
        if (level == GGML_LOG_LEVEL_WARN && text[0]) {
            return;
        }
        for (uint64_t i = serial; i < log_next; i++) {
            const line & l = log_lines[i % GT_LOG_LINES];
            if (l.level != level || l.thread != thread_id() || !l.text[0]) {
                continue;
            }
            if (text[0]) {
                append(text, size, "; ", 2);
            }
            append(text, size, l.text, strlen(l.text));
        }
    }
}

int gt_fail(gt_status * st, int code, const char * format, ...) {
    st->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(st->message, sizeof(st->message), format, args);
    va_end(args);
    return code;
}
