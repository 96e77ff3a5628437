package optim

import "github.com/ggtune/ggtune/internal/setting"

// Linear falls in a straight line; the step after the last would be at 0.
var Linear = registerSchedule(&Schedule{
	Name:    "linear",
	Doc:     "falls in a straight line to the end",
	UsesEnd: true,
	Reads:   []setting.Use{minLR.Use()},
	After:   func(_ Course, done, left int) float64 { return 1 - float64(done)/float64(left) },
})
