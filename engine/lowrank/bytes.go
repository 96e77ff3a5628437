package lowrank

const double = 8 // bytes

// Bytes is the memory that OfMatrix takes beside the matrix, or a little more than that, until it is given back.
func Bytes(rows, columns, rank int) int64 {
	least, sides, r := int64(min(rows, columns)), int64(rows)+int64(columns), int64(rank)
	// As they are found, rounded, and turned twice; their values, and what gonum's pools have not kept.
	factors := sides*r*(double+3*4) + 2*small*double
	width := r + oversampling
	if least > small && 2*width < least {
		// Both sides, and what their bases are made with; cores, of each iteration anew.
		bases := (sides*width + max(int64(rows), int64(columns))) * double
		return factors + bases + iterationsKept*cores*width*width*double
	}
	whole := cores * least * least * double
	if rows < columns {
		whole += int64(rows) * int64(columns) * double // turned
	}
	return factors + whole + sides*double
}

const (
	// cores is how many squares of the smaller size a decomposition has at once: the triangle, an identity, and what
	// the singular values are found with.
	cores = 10
	// iterationsKept is how many iterations' cores lie in memory before the collector takes them.
	iterationsKept = 4
)

// QRBytes is the same of QR.
func QRBytes(rows, columns, rank int) int64 {
	sides, r := int64(rows)+int64(columns), int64(rank)
	return sides*r*(double+4) + cores*r*r*double + (sides+small)*double
}
