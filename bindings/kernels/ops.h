// The list of operations: X(enumerator, name). ops.inc.h says where they stand.
#ifndef GT_OPS_H
#define GT_OPS_H

#define GT_OPS(X)                             \
    X(GT_OP_PACK, pack)                       \
    X(GT_OP_LINEAR, linear)                   \
    X(GT_OP_LINEAR_T, linear_t)               \
    X(GT_OP_OUTER, outer)                     \
    X(GT_OP_HEAD, head)                       \
    X(GT_OP_HEAD_MERGE, head_merge)           \
    X(GT_OP_HEAD_BACK, head_back)             \
    X(GT_OP_HEAD_GRAD_W, head_grad_w)         \
    X(GT_OP_HEAD_TOP, head_top)               \
    X(GT_OP_HEAD_TOP_MERGE, head_top_merge)   \
    X(GT_OP_HEAD_DRAW, head_draw)             \
    X(GT_OP_HEAD_DRAW_MERGE, head_draw_merge) \
    X(GT_OP_ATTN, attn)                       \
    X(GT_OP_ATTN_DELTA, attn_delta)           \
    X(GT_OP_ATTN_BACK_Q, attn_back_q)         \
    X(GT_OP_ATTN_BACK_KV, attn_back_kv)       \
    X(GT_OP_ATTN_SINK_GRAD, attn_sink_grad)   \
    X(GT_OP_ATTN_KEEP, attn_keep)             \
    X(GT_OP_ATTN_NEXT, attn_next)             \
    X(GT_OP_CONV, conv)                       \
    X(GT_OP_CONV_BACK, conv_back)             \
    X(GT_OP_CONV_GRAD, conv_grad)             \
    X(GT_OP_CONV_NEXT, conv_next)             \
    X(GT_OP_ROWS, rows)                       \
    X(GT_OP_ROWS_ADD, rows_add)               \
    X(GT_OP_ADD, add)                         \
    X(GT_OP_MUL, mul)                         \
    X(GT_OP_BIAS_GRAD, bias_grad)             \
    X(GT_OP_COPY, copy)                       \
    X(GT_OP_ZERO, zero)                       \
    X(GT_OP_RMS_NORM, rms_norm)               \
    X(GT_OP_RMS_NORM_BACK, rms_norm_back)     \
    X(GT_OP_RMS_NORM_GRAD, rms_norm_grad)     \
    X(GT_OP_LAYER_NORM, layer_norm)           \
    X(GT_OP_LAYER_NORM_BACK, layer_norm_back) \
    X(GT_OP_LAYER_NORM_GRAD, layer_norm_grad) \
    X(GT_OP_ROPE, rope)                       \
    X(GT_OP_SWIGLU, swiglu)                   \
    X(GT_OP_SWIGLU_BACK, swiglu_back)         \
    X(GT_OP_SWIGLU_OAI, swiglu_oai)           \
    X(GT_OP_SWIGLU_OAI_BACK, swiglu_oai_back) \
    X(GT_OP_GELU, gelu)                       \
    X(GT_OP_GELU_BACK, gelu_back)             \
    X(GT_OP_GEGLU, geglu)                     \
    X(GT_OP_GEGLU_BACK, geglu_back)           \
    X(GT_OP_SOFTCAP, softcap)                 \
    X(GT_OP_SOFTCAP_BACK, softcap_back)       \
    X(GT_OP_TIMES, times)                     \
    X(GT_OP_DROPOUT, dropout)                 \
    X(GT_OP_GATE, gate)                       \
    X(GT_OP_MEAN, mean)                       \
    X(GT_OP_MEAN_BACK, mean_back)             \
    X(GT_OP_TOP_K, top_k)                     \
    X(GT_OP_GROUP, group)                     \
    X(GT_OP_GATING, gating)                   \
    X(GT_OP_GATING_BACK, gating_back)         \
    X(GT_OP_COMBINE, combine)                 \
    X(GT_OP_WEIGH, weigh)                     \
    X(GT_OP_WEIGH_BACK, weigh_back)           \
    X(GT_OP_WEIGHED_BIAS, weighed_bias)       \
    X(GT_OP_WEIGHED_BIAS_BACK, weighed_bias_back)\
    X(GT_OP_WEIGHED_BIAS_GRAD, weighed_bias_grad)\
    X(GT_OP_EXPERTS_PACK, experts_pack)       \
    X(GT_OP_EXPERTS, experts)                 \
    X(GT_OP_EXPERTS_T, experts_t)             \
    X(GT_OP_EXPERTS_OUTER, experts_outer)     \
    X(GT_OP_EXPERTS_BIAS_GRAD, experts_bias_grad)\
    X(GT_OP_SCALE, scale)                     \
    X(GT_OP_SCALE_GRAD, scale_grad)           \
    X(GT_OP_PAIR_NORM, pair_norm)             \
    X(GT_OP_ADAMW, adamw)                     \
    X(GT_OP_SQUARES, squares)                 \
    X(GT_OP_LION, lion)                       \
    X(GT_OP_ADAMW8, adamw8)                   \
    X(GT_OP_ADAFACTOR_ROWS, adafactor_rows)   \
    X(GT_OP_ADAFACTOR_COLUMNS, adafactor_columns) \
    X(GT_OP_ADAFACTOR_SQUARES, adafactor_squares) \
    X(GT_OP_ADAFACTOR, adafactor)             \
    X(GT_OP_MUON_MOMENT, muon_moment)         \
    X(GT_OP_MUON_UNIT, muon_unit)             \
    X(GT_OP_MUON, muon)                       \
    X(GT_OP_AVERAGE, average)

#endif
