package optim

// Constant stays at the peak.
var Constant = registerSchedule(&Schedule{
	Name:  "constant",
	Doc:   "stays at the peak after the warm-up",
	After: func(Course, int, int) float64 { return 1 },
})
