// Macros with which ggmlapi.h and llamaapi.h declare what ggtune calls of ggml and llama.cpp, each thing once for two
// uses.
//
// Ordinarily a GT_ENUM, GT_STRUCT or GT_CONST is a declaration. With GT_DRIFT defined, after the real headers, it is a
// set of assertions: every enum value and constant has our number; a structure of ours, emitted under a second name,
// has the real one's size, and each field its offset, size and type. Prototypes are plain C in both uses: after the
// real headers a prototype that differs is an error of the compiler itself. The drift test (drift_test.go) compiles
// that second use.
//
// A list is a macro of one parameter: an enum's L(X) is a sequence of X(constant, value); a structure's L(F) a sequence
// of F(structure, type, field, array), where array is [n] or empty. A structure passed or returned by value must be
// listed whole; one that C only points to is not listed at all.
#ifndef GT_DECLARE_H
#define GT_DECLARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef GT_DRIFT

#define GT_ENUM_VALUE(c, v) c = v,
#define GT_ENUM(name, list) enum name { list(GT_ENUM_VALUE) };
#define GT_CONST(c, v)      enum { c = v };

#define GT_FIELD(s, t, f, array) t f array;
#define GT_STRUCT(name, list)    struct name { list(GT_FIELD) };

#else

#define GT_ENUM_VALUE(c, v) _Static_assert((long long)(c) == (v), "the value of " #c);
#define GT_ENUM(name, list) list(GT_ENUM_VALUE)
#define GT_CONST(c, v)      _Static_assert((long long)(c) == (v), "the value of " #c);

#define GT_FIELD(s, t, f, array) t f array;
#define GT_FIELD_CHECK(s, t, f, array)                                                                             \
    _Static_assert(offsetof(struct s, f) == offsetof(struct gt_drift_##s, f), "the offset of " #s "." #f);         \
    _Static_assert(sizeof(((struct s *)0)->f) == sizeof(((struct gt_drift_##s *)0)->f), "the size of " #s "." #f); \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((struct s *)0)->f),                                    \
                                                __typeof__(((struct gt_drift_##s *)0)->f)), "the type of " #s "." #f);
#define GT_STRUCT(name, list)              \
    struct gt_drift_##name { list(GT_FIELD) }; \
    list(GT_FIELD_CHECK)                   \
    _Static_assert(sizeof(struct name) == sizeof(struct gt_drift_##name), "the size of struct " #name);

#endif
#endif
