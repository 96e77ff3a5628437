package rollout

import "math/bits"

// uniform is a number from 0 to below 1 that belongs to a token: number at of a sample of a prompt in a step. Any of
// them can be had without the others.
func uniform(seed uint64, step, prompt, sample, at uint32) float64 {
	x := philox([4]uint32{at, sample, prompt, step}, [2]uint32{uint32(seed), uint32(seed >> 32)})
	const digits = 53 // of a float64
	return float64((uint64(x[1])<<32|uint64(x[0]))>>(64-digits)) / (1 << digits)
}

// philox is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011),
// section 3.3 and table 2: four random numbers for a counter under a key.
func philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	const (
		rounds = 10
		m0, m1 = 0xD2511F53, 0xCD9E8D57
		w0, w1 = 0x9E3779B9, 0xBB67AE85 // of the golden ratio and √3 − 1
	)
	for range rounds {
		hi0, lo0 := bits.Mul32(m0, counter[0])
		hi1, lo1 := bits.Mul32(m1, counter[2])
		counter = [4]uint32{hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0}
		key[0] += w0
		key[1] += w1
	}
	return counter
}
