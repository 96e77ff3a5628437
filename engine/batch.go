package engine

// A Segment is one run of tokens in a row's tree: tokens [Start, Start+Len) of the row. Its tokens attend to earlier
// tokens of the segment and to every token of its ancestors; positions continue from the parent's last.
type Segment struct {
	Start, Len int // tokens
	Parent     int // index of an earlier segment of the same row, or -1: a root
}

// A Row is one packed token sequence (a forest of segments).
type Row struct {
	Tokens   []int32
	Segments []Segment // in order, covering Tokens without gap or overlap
	// Counted lists, ascending, the indices into Tokens whose log-probability is asked for. A token is predicted from
	// its predecessor in the tree, so the first token of a root segment cannot be counted.
	Counted []int32
	// Named lists, for output Named, the tokens whose log-probability is asked for in the place of each counted one: as
	// many for each, all different.
	Named []int32
	// Valued lists, ascending, the indices into Tokens of those that output Value gives a number for; the first token
	// of a root may be one.
	Valued []int32
	// Pooled lists, ascending, the numbers of the segments that output Pooled gives a vector for: each of the text that
	// ends with the segment.
	Pooled []int32
	// Since is, of each segment, the first of its tokens (counted within it) on which what waits for an invocation acts
	// (delta.Placed.Late); Len where that is none of them. nil: it acts on none of the row's.
	Since []int
}

// A Batch is one micro-batch: one forward and one backward pass.
type Batch struct {
	Rows []Row
	// DropoutStep keys dropout masks and noise (with the session's seed): equal keys give equal ones, so that a resumed
	// run and a recomputed layer see the same. The loop passes a number unique to the micro-batch within the run.
	DropoutStep uint64
}
