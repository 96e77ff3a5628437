// Operations of rows.inc.h.
#define GT_OPS_ROWS(X)                           \
    X(GT_OP_ADD, add)                            \
    X(GT_OP_BIAS_GRAD, bias_grad)                \
    X(GT_OP_COPY, copy)                          \
    X(GT_OP_ZERO, zero)                          \
    X(GT_OP_RMS_NORM, rms_norm)                  \
    X(GT_OP_RMS_NORM_BACK, rms_norm_back)        \
    X(GT_OP_RMS_NORM_GRAD, rms_norm_grad)        \
    X(GT_OP_LAYER_NORM, layer_norm)              \
    X(GT_OP_LAYER_NORM_BACK, layer_norm_back)    \
    X(GT_OP_LAYER_NORM_GRAD, layer_norm_grad)    \
    X(GT_OP_ROPE, rope)                          \
    X(GT_OP_SWIGLU, swiglu)                      \
    X(GT_OP_SWIGLU_BACK, swiglu_back)            \
    X(GT_OP_GELU, gelu)                          \
    X(GT_OP_GELU_BACK, gelu_back)                \
    X(GT_OP_DROPOUT, dropout)                    \
    X(GT_OP_ADAMW, adamw)                        \
    X(GT_OP_SQUARES, squares)
