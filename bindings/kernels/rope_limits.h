// The longest rotation one GT_OP_ROPE call may ask for: a token's table of cosines and sines lies on the stack.
#ifndef GT_ROPE_LIMITS_H
#define GT_ROPE_LIMITS_H

enum { GT_ROPE_MAX = 1024 };

#endif
