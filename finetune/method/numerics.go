package method

import "math"

// softplus is log(1 + eˣ) = −log σ(−x), exact to rounding at any x: the exponential is only ever taken of what is not
// positive, so it cannot overflow, and log1p keeps what it adds to 1.
func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// sigmoid is 1/(1 + e⁻ˣ), which keeps its relative precision for large negative x too.
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// logistic is a·(−log σ(x)) + b·(−log σ(−x)) and its derivative by x.
func logistic(x, a, b float64) (loss, slope float64) {
	return a*softplus(-x) + b*softplus(x), b*sigmoid(x) - a*sigmoid(-x)
}

// bell is the derivative of σ at x, σ(x)·σ(−x).
func bell(x float64) float64 { return sigmoid(x) * sigmoid(-x) }
