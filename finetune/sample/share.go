package sample

import "math"

// Room is how many seconds there are for answers after as many seconds of training, so that all of them, those that
// were spent before included, stay within a share of the time. It is asked before each, so that they spread over the
// run: the longer it has gone on, the more has been earned.
func Room(share, spent, trained float64) float64 {
	if share >= 1 {
		return math.Inf(1)
	}
	// spent + room = share · (trained + spent + room)
	return share/(1-share)*trained - spent
}
