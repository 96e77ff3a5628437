// Products; included by every kern_*.c.
static size_t gt_k_packed_bytes(int64_t k, int64_t t) { return (size_t) k * (size_t) t * 4; }
