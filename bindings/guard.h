// The guard around every call into ggml and llama.cpp (C++ only): no exception and, on the calling thread, no failed
// assertion passes it; both become a status.
#ifndef GT_GUARD_H
#define GT_GUARD_H

#include "fault.h"
#include "status.h"

#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace gt {

// assertion is thrown by the assertion hook. It is not a std::exception: llama.cpp catches those itself in places, and
// would go on with an object whose invariant has just been found broken.
struct assertion {
    std::string message;
    explicit assertion(const char * m) : message(m) {}
};

// guard_scope marks the calling thread as guarded for as long as it lives.
struct guard_scope {
    guard_scope();
    ~guard_scope();
    guard_scope(const guard_scope &) = delete;
};

// guard runs f, which returns a code and may have filled st by gt_fail. Where the call fails, the errors logged on this
// thread during it are appended to the message. Where a mapped file lost pages meanwhile, that is why, whatever
// followed.
template <typename F> int guard(gt_status * st, F && f) {
    const uint64_t serial = gt_log_next();
    const uint64_t lost   = gt_pages_lost();
    st->code       = GT_OK;
    st->message[0] = 0;
    try {
        guard_scope scope;
        st->code = f();
    } catch (const assertion & e) {
        gt_fail(st, GT_ASSERTION, "an internal check failed: %s", e.message.c_str());
    } catch (const std::bad_alloc &) {
        gt_fail(st, GT_NO_MEMORY, "out of memory");
    } catch (const std::out_of_range & e) {
        gt_fail(st, GT_MISSING, "something refers to an entry that is not there (%s)", e.what());
    } catch (const std::exception & e) {
        gt_fail(st, GT_EXCEPTION, "%s", e.what());
    } catch (...) {
        gt_fail(st, GT_EXCEPTION, "an exception of unknown type");
    }
    if (gt_pages_lost() != lost) {
        return gt_fail(st, GT_LOST,
                       "a file that is mapped into memory, such as the model, was made shorter or overwritten "
                                    "meanwhile, or its disk failed");
    }
    if (st->code != GT_OK) {
        gt_log_errors(serial, st->message, sizeof(st->message));
        if (!st->message[0]) {
            gt_fail(st, st->code, "no reason was given");
        }
    }
    return st->code;
}

} // namespace gt
#endif
