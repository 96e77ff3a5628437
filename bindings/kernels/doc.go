// Package kernels knows the border with ggtune's own C kernels: the call structure, the instruction-set levels, and how
// to run one call. It does not know threads, graphs or who owns a tensor's memory.
//
//	kernels.h      the border: gt_arg and gt_call, as Arg and Call mirror them
//	ops.h          the table of operations
//	NAME.inc.h     one operation or family: what it computes from which arguments, its constants as a struct, its
//	               check (shapes, types, overlap, constants), and its kernel, written once on the vectors of vec.h:
//	                   every thread calls gt_k_NAME(call, ith, nth) and takes its share of the output
//	                   each output element is summed in an order that the shapes alone fix
//	NAME.go        the same names and constants for Go
//	kern_LEVEL.c   sets the compiler's target and includes kern.inc.h: all kernels, once for each instruction set
//	checks.c       all checks, once
//	dispatch.c     gt_run(call, ith, nth) → table of the level at hand → the operation's kernel; gt_check(call)
//
// A product unpacks a tile of a quantized matrix once and multiplies it by many tokens (unpack, micro, gemm);
// activations are packed before, into the format that the CPU multiplies fastest (pack). The output head and the
// softmax go over the vocabulary in shards and store no logits (head). Attention goes by blocks of queries, and skips
// those of keys that the tree hides (attention). To add an operation: see dispatch.c.
package kernels
