package sample

// Allows says whether answers that take cost more seconds leave all of them within a share of the time, after as many
// seconds of training; spent is what earlier ones took. It is asked before each, so that they spread over the run: the
// longer it has gone on, the more has been earned.
func Allows(share, spent, cost, trained float64) bool {
	if share >= 1 {
		return true
	}
	// spent + cost ≤ share · (trained + spent + cost)
	return (1-share)*(spent+cost) <= share*trained
}
