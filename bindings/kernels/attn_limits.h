// What one attention call may ask for; gt_check refuses the rest.
#ifndef GT_ATTN_LIMITS_H
#define GT_ATTN_LIMITS_H

enum {
    GT_ATTN_MAX_D   = 512,   // a head's length: a tile's matrices lie on the stack
    GT_ATTN_MAX_SEG = 65536, // segments: a set of them takes 8 KiB of stack
};

#endif
