package alike

// What is common is learned from a sample of the texts: a system prompt or a task's definition, several times as long
// as what it goes with, would make all texts alike.
const (
	// sampled is how many texts are looked at: a passage in a sixteenth of all is in 32 of them.
	sampled = 512
	// commonShare is the share of the sampled texts that have a common piece, at least: 1 in 16; and leastCommon their
	// number.
	commonShare = 16
	leastCommon = 4
	// sampledPieces bounds what is read of each: what many texts share stands at their beginning.
	sampledPieces = 1 << 14
	// shell is the share of a text that common passages must exceed to be left aside, in fifths: at less they alone
	// make no two texts alike. leastRest is how many pieces must be left to tell texts apart by: with fewer, such as of
	// one or two changed words, the texts are alike and it is their likeness that is common.
	shell     = 4
	leastRest = 32
)

// isShell says whether a text of so many pieces, of which rest are not common, is compared by these alone.
func isShell(all, rest int) bool { return 5*(all-rest) > shell*all && rest >= leastRest }

// learn finds what is common among n texts.
func (x *Index) learn(n int) error {
	looked := min(n, sampled)
	counts := map[uint64]int32{}
	last := map[uint64]int32{} // the text that a piece was last counted in
	for k := range looked {
		parts, err := x.text(k * n / looked)
		if err != nil {
			return err
		}
		read := 0
		eachPiece(parts, func(p uint64) bool {
			if at, seen := last[p]; !seen || at != int32(k) {
				counts[p]++
				last[p] = int32(k)
			}
			read++
			return read < sampledPieces
		})
	}
	for p, c := range counts {
		if int(c) >= leastCommon && int(c)*commonShare > looked {
			x.common[p] = true
		}
	}
	return nil
}
