// The product of many tokens with stored weights, in blocks: C[t,j] (+)= bias[j] + Σ_terms f·Σ_r A[t,r]·B[r,j].
//
// A is activations: packed by GT_OP_PACK, or floats by token (rows are tokens), or floats by reduction index (columns
// are tokens). B is a stored matrix of any type used either way round: its rows are outputs (W x) or the reduction (Wᵀ
// dy). Columns are cut into groups of GT_NB, the reduction into segments; one segment of one group of B is unpacked
// into panels that stay in the second-level cache while up to 512 tokens pass over them. So every weight is unpacked
// once for that many tokens, in about 1/30 of their product's time, and C is read and written once per segment.
//
// Every element of C is one chain of additions: segments in order, indices in order inside one. How the work is shared
// among threads, where blocks begin and how tokens are grouped changes nothing in it.

// 256 columns are one block of the K types: a panel of Wᵀ wastes nothing (groups of 128 unpack each block twice, which
// costs Q6_K a tenth). Segments: the panels take 256 KiB in F32 and BF16 at 16 lanes, a quarter of Zen 4's L2, and 128
// KiB at other levels, half of older ones; INT16's half of F32's at most, and its stage another 256 KiB. Segments of
// 256 to 1024 differ by less than the noise.
enum { GT_NB = 256, GT_KC_BF16 = 512, GT_KC_F32 = GT_HAS_AVX512 ? 256 : 128 };

GT_INLINE int64_t gt_segment_length(int format) {
    return format == GT_FORMAT_BF16 ? GT_KC_BF16 : format == GT_FORMAT_INT16 ? GT_KC_INT16 : GT_KC_F32;
}
// So many blocks of tokens share unpacked weights: C of one group, 512 KiB, is read and written once per segment and
// must not leave the second-level cache meanwhile (rows of 4096 tokens lost a fifth to that), and unpacking again costs
// a thirtieth.
enum { GT_STRETCH = 512 / GT_MR + 1 };
enum { GT_UNIT = 32 }; // columns are shared among threads in these units
enum { GT_UNPACK_COST = 16 }; // of a column, in the time of that many tokens; see gt_grid

// Activations given by column are packed a band of blocks at a time, so that rows are read in long runs. 16 more
// floats, lest blocks share cache sets.
enum { GT_BAND = 256 / GT_MR + 1, GT_BAND_FLOATS = GT_MR * GT_KC_F32 + 16 };

enum { GT_A_PACKED, GT_A_ROWS, GT_A_COLS };

typedef struct gt_acts {
    int             kind;
    const uint8_t * data;
    int64_t         nb1; // bytes from row to row; GT_A_PACKED: floats' worth of reduction steps of one token
    const float *   scales; // INT16: of segment i, token t at [i·tokens + t]
} gt_acts;

typedef struct gt_weights {
    gt_store_type   type;
    const uint8_t * data;
    int64_t         nb1;
    int             rows_are_outputs;
} gt_weights;

// One term of the sum; reduction is the number of r.
typedef struct gt_term {
    gt_acts    a;
    gt_weights b;
    int64_t    reduction;
    int        format;
    float      f;
} gt_term;

typedef struct gt_product {
    float *       c;
    int64_t       ldc; // floats from one token to the next
    int64_t       tokens, cols;
    const float * bias;
    int           acc;
    int           n_terms;
    gt_term       term[2];
} gt_product;

_Static_assert(GT_KC_INT16 / 2 <= GT_KC_F32, "panels of INT16 must fit where F32's do");

// The work area of one thread.
typedef struct gt_area {
    float panels[GT_NB * GT_KC_F32 > GT_NB * GT_KC_BF16 / 2 ? GT_NB * GT_KC_F32
                 : GT_NB * GT_KC_BF16 / 2] __attribute__((aligned(64)));
    // rows being unpacked; 16 more, lest they share cache sets
    float rows[GT_VL * (256 + 16)] __attribute__((aligned(64)));
    float scales[GT_NB] __attribute__((aligned(64)));            // INT16: of the group's outputs, in this segment
#if GT_HAS_I16
    float stage[GT_KC_INT16 * GT_NB] __attribute__((aligned(64))); // a whole segment, while its scales are found
#endif
    float pair[2 * GT_NB] __attribute__((aligned(64)));
    float blocks[GT_BAND * GT_BAND_FLOATS] __attribute__((aligned(64)));
} gt_area;

// Tokens are cut into blocks as even as can be, so that 16 tokens are 8 and 8, not 12 and 4.
GT_INLINE int64_t gt_blocks(int64_t t) { return (t + GT_MR - 1) / GT_MR; }
GT_INLINE int64_t gt_block_start(int64_t t, int64_t b) { return t * b / gt_blocks(t); }

GT_INLINE void gt_prefetch(const uint8_t * p, int64_t n) {
    for (int64_t o = 0; o < n; o += 64) __builtin_prefetch(p + o);
}

// gt_panel_outputs fills one panel whose lanes are the weights' rows j.. (n of them), over [k, k+kc) of the reduction,
// and for INT16 its scales.
GT_INLINE void gt_panel_outputs(const gt_weights * w, const int format, int64_t j, int n, int64_t k, int64_t kc,
                                float * panel, float * rows, float * scales) {
    enum { LD = 256 + 16 };
    for (int v = 0; v < 2; v++, panel += GT_VL, scales += GT_VL) {
        int m = n - v * GT_VL < GT_VL ? n - v * GT_VL : GT_VL;
        if (m <= 0) return; // gt_micro reads one vector only
        for (int64_t part = 0; part < kc; part += 256) {
            int64_t len   = kc - part < 256 ? kc - part : 256;
            int64_t bytes = len / w->type.block * w->type.bytes, from = (k + part) / w->type.block * w->type.bytes;
            for (int i = 0; i < m; i++) {
                const uint8_t * row = w->data + (j + v * GT_VL + i) * w->nb1;
                // Rows lie far apart in a file that is mapped: the hardware does not foresee the next.
                if (i + 4 < m) gt_prefetch(row + 4 * w->nb1 + from, bytes);
                gt_unpack_range(&w->type, row, k + part, len, rows + i * LD);
            }
#if GT_HAS_PAIRS
            if (format == GT_PACKED_FORMAT) {
                for (int i = 0; i < m; i++)
                    gt_to_pairs(rows + i * LD, len, GT_RANGE_WEIGHTS, rows + i * LD, scales + i);
                gt_turn(rows, LD, m, (len + 1) / 2, panel + part / 2 * GT_NR, GT_NR);
                if (m < GT_VL) gt_clear_lanes(panel + part / 2 * GT_NR, m, (len + 1) / 2);
                continue;
            }
#endif
            gt_turn(rows, LD, m, len, panel + part * GT_NR, GT_NR);
            if (m < GT_VL) gt_clear_lanes(panel + part * GT_NR, m, len);
        }
    }
    (void) format, (void) scales;
}

// gt_panels_copy is gt_panels_reduction for floats, which need no unpacking.
static void gt_panels_copy(const gt_weights * w, int64_t j, int n, int64_t k, int64_t kc, float * panels) {
    for (int64_t i = 0; i < kc; i++) {
        const float * row = (const float *) (w->data + (k + i) * w->nb1) + j;
        float *       to  = panels + i * GT_NR;
        if (i + 8 < kc) gt_prefetch((const uint8_t *) row + 8 * w->nb1, 4 * n);
        for (int c = 0; c < n; c += GT_NR, to += kc * GT_NR) {
            for (int v = 0; v < GT_NR; v += GT_VL) {
                int m = n - c - v;
                gt_store(to + v, m >= GT_VL ? gt_load(row + c + v) : gt_load_n(row + c + v, m > 0 ? m : 0));
            }
        }
    }
}

// gt_panels_pair is gt_panels_copy for BF16: pairs of rows, an odd last one with zero.
static void gt_panels_pair(const gt_weights * w, int64_t j, int n, int64_t k, int64_t kc, int64_t panel_floats,
                           float * panels) {
    for (int64_t i = 0; i < kc; i += 2) {
        const float * lo = (const float *) (w->data + (k + i) * w->nb1) + j;
        const float * hi = i + 1 < kc ? (const float *) (w->data + (k + i + 1) * w->nb1) + j : NULL;
        if (i + 9 < kc)
            gt_prefetch((const uint8_t *) lo + 8 * w->nb1, 4 * n),
                gt_prefetch((const uint8_t *) lo + 9 * w->nb1, 4 * n);
        float *       to = panels + i / 2 * GT_NR;
        for (int c = 0; c < n; c += GT_NR, to += panel_floats) {
            for (int v = 0; v < GT_NR; v += GT_VL) {
                int m = n - c - v, some = m >= GT_VL ? GT_VL : m > 0 ? m : 0;
                gt_store(to + v, gt_pairs(gt_load_n(lo + c + v, some), hi ? gt_load_n(hi + c + v, some) : gt_splat(0)));
            }
        }
    }
}

#if GT_HAS_I16
// gt_panels_int16 is gt_panels_reduction for INT16: the segment is unpacked whole, since each column's scale is its
// largest.
static void gt_panels_int16(const gt_weights * w, int64_t j, int n, int64_t k, int64_t kc, int64_t panel_floats,
                            float * panels, float * stage, float * scales) {
    const int64_t bytes = n / w->type.block * w->type.bytes + 64, from = j / w->type.block * w->type.bytes;
    const int     wide = (n + GT_NR - 1) / GT_NR * GT_NR;
    gt_vi         most[GT_NB / GT_VL];
    gt_vf         inverse[GT_NB / GT_VL];
    memset(most, 0, sizeof most);
    for (int64_t i = 0; i < kc; i++) {
        const uint8_t * row = w->data + (k + i) * w->nb1;
        float *         to  = stage + i * GT_NB;
        if (i + 8 < kc) gt_prefetch(row + 8 * w->nb1 + from, bytes);
        gt_unpack_range(&w->type, row, j, n, to);
        memset(to + n, 0, (size_t) (wide - n) * sizeof(float));
        for (int c = 0; c < wide; c += GT_VL)
            most[c / GT_VL] = gt_max_vi(most[c / GT_VL], gt_magnitude(gt_load(to + c)));
    }
    for (int c = 0; c < wide; c += GT_VL)
        gt_store(scales + c, gt_int16_scale(most[c / GT_VL], GT_RANGE_WEIGHTS, &inverse[c / GT_VL]));
    for (int64_t i = 0; i < kc; i += 2, panels += GT_NR) {
        const float * row = stage + i * GT_NB;
        float *       to  = panels;
        for (int c = 0; c < wide; c += GT_NR, to += panel_floats) {
            for (int v = 0; v < GT_NR; v += GT_VL) {
                const gt_vf hi = i + 1 < kc ? gt_load(row + GT_NB + c + v) : gt_splat(0);
                gt_store(to + v, gt_int16_pairs(gt_load(row + c + v), hi, inverse[(c + v) / GT_VL]));
            }
        }
    }
}
#endif

// gt_panels_reduction fills the panels of columns [j, j+n) from the weights' rows [k, k+kc): rows are the reduction.
GT_INLINE void gt_panels_reduction(const gt_weights * w, const int format, int64_t j, int n, int64_t k, int64_t kc,
                                   int64_t panel_floats, gt_area * area) {
    const int bf16   = format == GT_FORMAT_BF16;
    float *   panels = area->panels, *pair = area->pair;
#if GT_HAS_I16
    if (format == GT_FORMAT_INT16) {
        gt_panels_int16(w, j, n, k, kc, panel_floats, panels, area->stage, area->scales);
        return;
    }
#endif
    int64_t bytes = n / w->type.block * w->type.bytes + 64, from = j / w->type.block * w->type.bytes;
    if (w->type.unpack == gt_unpack_f32) {
        if (bf16) gt_panels_pair(w, j, n, k, kc, panel_floats, panels);
        else gt_panels_copy(w, j, n, k, kc, panels);
        return;
    }
    memset(pair, 0, 2 * GT_NB * sizeof(float)); // columns beyond n stay zero
    int step = bf16 ? 2 : 1;
    for (int64_t i = 0; i < kc; i += step) {
        for (int h = 0; h < step; h++) {
            const uint8_t * row = w->data + (k + i + h) * w->nb1;
            if (i + h >= kc) {
                memset(pair + GT_NB, 0, GT_NB * sizeof(float));
                continue;
            }
            if (i + h + 8 < kc) gt_prefetch(row + 8 * w->nb1 + from, bytes);
            gt_unpack_range(&w->type, row, j, n, pair + h * GT_NB);
        }
        float * to = panels + i / step * GT_NR;
        for (int c = 0; c < n; c += GT_NR, to += panel_floats) {
            for (int v = 0; v < GT_NR; v += GT_VL) {
#if GT_HAS_BF16
                if (bf16) {
                    gt_store(to + v, gt_pairs(gt_load(pair + c + v), gt_load(pair + GT_NB + c + v)));
                    continue;
                }
#endif
                gt_store(to + v, gt_load(pair + c + v));
            }
        }
    }
}

// gt_band packs columns of the activations: the blocks [b, b+n) over rows [k, k+kc).
GT_INLINE void gt_band(const gt_acts * a, const int bf16, int64_t tokens, int64_t b, int64_t n, int64_t k, int64_t kc,
                       float * blocks) {
    int64_t start = gt_block_start(tokens, b),
        width = (gt_block_start(tokens, b + n) - start) * (int64_t) sizeof(float);
    for (int64_t i = 0; bf16 && i < kc; i += 2) {
        const float * lo = (const float *) (a->data + (k + i) * a->nb1) + start;
        const float * hi = i + 1 < kc ? (const float *) (a->data + (k + i + 1) * a->nb1) + start : NULL;
        // Rows lie far apart: the hardware does not foresee the next.
        if (i + 9 < kc)
            gt_prefetch((const uint8_t *) lo + 8 * a->nb1, width),
                gt_prefetch((const uint8_t *) lo + 9 * a->nb1, width);
        for (int64_t j = 0, at = 0; j < n; j++) {
            int mr = (int) (gt_block_start(tokens, b + j + 1) - gt_block_start(tokens, b + j));
            gt_vf pairs = gt_pairs(gt_load_n(lo + at, mr), hi ? gt_load_n(hi + at, mr) : gt_splat(0));
            gt_store_n(blocks + j * GT_BAND_FLOATS + i / 2 * mr, pairs, mr);
            at += mr;
        }
    }
    if (bf16) return;
    for (int64_t i = 0; i < kc; i++) {
        const float * row = (const float *) (a->data + (k + i) * a->nb1) + start;
        if (i + 8 < kc) gt_prefetch((const uint8_t *) row + 8 * a->nb1, width);
        for (int64_t j = 0; j < n; j++) {
            int64_t mr = gt_block_start(tokens, b + j + 1) - gt_block_start(tokens, b + j);
            memcpy(blocks + j * GT_BAND_FLOATS + i * mr, row, (size_t) mr * sizeof(float));
            row += mr;
        }
    }
}

// gt_block_of returns the block of tokens [t, t+mr) over [k, k+kc) of the reduction, packed already or packed here. The
// block is the i-th of its band.
GT_INLINE const float * gt_block_of(const gt_acts * a, const int format, int64_t t, int mr, int64_t k, int64_t kc,
                                    int64_t i, float * blocks) {
    if (a->kind == GT_A_PACKED)
        return (const float *) a->data + t * a->nb1 + (format == GT_FORMAT_F32 ? k : k / 2) * mr;
    if (a->kind == GT_A_COLS) return blocks + i * GT_BAND_FLOATS;
    const float * src = (const float *) (a->data + t * a->nb1) + k;
    for (int r = 0; r < mr; r += GT_VL) {
        gt_turn(src + r * (a->nb1 / 4), a->nb1 / 4, mr - r < GT_VL ? mr - r : GT_VL, kc, blocks + r, mr);
    }
    return blocks;
}

// gt_narrow multiplies floats by token with one panel, straight from their rows.
static void gt_narrow(const gt_term * e, int64_t t0, int64_t t1, int64_t k, int64_t kc, gt_tile o,
                      const float * panel) {
    for (int64_t t = t0; t < t1; t += GT_ROWS_MR, o.c += GT_ROWS_MR * o.ldc) {
        int mr = t1 - t < GT_ROWS_MR ? (int) (t1 - t) : GT_ROWS_MR;
        gt_micro_rows(mr, kc, (const float *) (e->a.data + t * e->a.nb1) + k, e->a.nb1 / 4, panel, &o);
    }
}

// gt_segment adds one segment of one term to columns [j, j+n) of the tokens of blocks [b0, b1).
GT_INLINE void gt_segment(const gt_product * p, const gt_term * e, const int format, int64_t b0, int64_t b1, int64_t j,
                          int n, int64_t k, int64_t kc, int first, gt_area * area) {
    int64_t steps = format == GT_FORMAT_F32 ? kc : (kc + 1) / 2, panel_floats = steps * GT_NR;
    if (e->b.rows_are_outputs) {
        for (int c = 0; c < n; c += GT_NR) {
            gt_panel_outputs(&e->b, format, j + c, n - c, k, kc, area->panels + c / GT_NR * panel_floats, area->rows,
                             area->scales + c);
        }
    } else {
        gt_panels_reduction(&e->b, format, j, n, k, kc, panel_floats, area);
    }
    const int     add  = !first || p->acc;
    const float * bias = first && p->bias ? p->bias + j : NULL;
    if (e->a.kind == GT_A_ROWS && n <= GT_NR) {
        int64_t t0 = gt_block_start(p->tokens, b0);
        gt_tile o  = {p->c + t0 * p->ldc + j, p->ldc, n, add, e->f, bias, NULL, NULL};
        gt_narrow(e, t0, gt_block_start(p->tokens, b1), k, kc, o, area->panels);
        return;
    }
    for (int64_t b = b0; b < b1; b++) {
        int64_t i = (b - b0) % GT_BAND;
        if (e->a.kind == GT_A_COLS && i == 0)
            gt_band(&e->a, format == GT_FORMAT_BF16, p->tokens, b, b1 - b < GT_BAND ? b1 - b : GT_BAND, k, kc,
                    area->blocks);
        int64_t       t      = gt_block_start(p->tokens, b);
        int           mr     = (int) (gt_block_start(p->tokens, b + 1) - t);
        const float * scales = format == GT_FORMAT_INT16 ? e->a.scales + k / GT_KC_INT16 * p->tokens + t : NULL;
        const float * a      = gt_block_of(&e->a, format, t, mr, k, kc, i, area->blocks);
        for (int c = 0; c < n; c += GT_NR) {
            gt_tile o = {p->c + t * p->ldc + j + c, p->ldc, n - c < GT_NR ? n - c : GT_NR, add, e->f,
                         bias ? bias + c : NULL, scales, area->scales + c};
            const float * panel = area->panels + c / GT_NR * panel_floats;
#if GT_HAS_PAIRS
            if (format == GT_PACKED_FORMAT) {
                gt_micro_pairs(mr, steps, a, panel, &o);
                continue;
            }
#endif
            gt_micro_f32(mr, steps, a, panel, &o);
        }
    }
}

// gt_no_terms is the product with nothing to sum: the bias, or zero.
static void gt_no_terms(const gt_product * p, int64_t t0, int64_t t1, int64_t j0, int64_t j1) {
    for (int64_t t = t0; t < t1; t++) {
        for (int64_t j = j0; j < j1; j++)
            p->c[t * p->ldc + j] = (p->acc ? p->c[t * p->ldc + j] : 0) + (p->bias ? p->bias[j] : 0);
    }
}

// gt_stretch computes columns [j0, j1) of the tokens of blocks [b0, b1), of which one group's are little enough for the
// cache.
static void gt_stretch(const gt_product * p, int64_t b0, int64_t b1, int64_t j0, int64_t j1, gt_area * area) {
    for (int64_t j = j0, next; j < j1; j = next) {
        next      = (j / GT_NB + 1) * GT_NB; // groups begin at whole blocks of the K types
        next      = next < j1 ? next : j1;
        int n     = (int) (next - j);
        int first = 1;
        for (int i = 0; i < p->n_terms; i++) {
            const gt_term * e = &p->term[i];
            for (int64_t k = 0; k < e->reduction; first = 0) {
                int64_t most = gt_segment_length(e->format);
                int64_t kc   = e->reduction - k < most ? e->reduction - k : most;
                if (GT_HAS_PAIRS && e->format == GT_PACKED_FORMAT)
                    gt_segment(p, e, GT_PACKED_FORMAT, b0, b1, j, n, k, kc, first, area);
                else gt_segment(p, e, GT_FORMAT_F32, b0, b1, j, n, k, kc, first, area);
                k += kc;
            }
        }
        if (first) gt_no_terms(p, gt_block_start(p->tokens, b0), gt_block_start(p->tokens, b1), j, next);
    }
}

// gt_multiply computes columns [j0, j1) of the tokens of blocks [b0, b1).
static void gt_multiply(const gt_product * p, int64_t b0, int64_t b1, int64_t j0, int64_t j1, gt_area * area) {
    int64_t parts = (b1 - b0 + GT_STRETCH - 1) / GT_STRETCH;
    for (int64_t i = 0; i < parts; i++)
        gt_stretch(p, b0 + (b1 - b0) * i / parts, b0 + (b1 - b0) * (i + 1) / parts, j0, j1, area);
}

// gt_grid finds how to cut the work for nth threads: into parts of the columns and parts of the tokens, whichever
// leaves the busiest thread least to do. A column costs its unpacking in every part of the tokens.
static void gt_grid(const gt_product * p, int ith, int nth, int64_t * b0, int64_t * b1, int64_t * j0, int64_t * j1) {
    int64_t units = (p->cols + GT_UNIT - 1) / GT_UNIT, blocks = gt_blocks(p->tokens), best = INT64_MAX;
    int     parts = nth;
    for (int n = nth; n >= 1; n--) {
        if (nth % n) continue;
        int64_t u = (units + n - 1) / n, b = (blocks + nth / n - 1) / (nth / n);
        int64_t cost = u * (b * GT_MR + GT_UNPACK_COST);
        if (cost < best) best = cost, parts = n;
    }
    gt_share(p->cols, GT_UNIT, ith % parts, parts, j0, j1);
    gt_share(blocks, 1, ith / parts, nth / parts, b0, b1);
}

static void gt_multiply_share(const gt_product * p, int ith, int nth) {
    int64_t b0, b1, j0, j1;
    if (p->tokens == 0 || p->cols == 0) return;
    gt_grid(p, ith, nth, &b0, &b1, &j0, &j1);
    gt_multiply(p, b0, b1, j0, j1, gt_scratch(sizeof(gt_area)));
}
