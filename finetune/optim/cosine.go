package optim

import (
	"math"

	"github.com/ggtune/ggtune/internal/setting"
)

// Cosine falls as half a cosine (Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts).
var Cosine = registerSchedule(&Schedule{
	Name:    "cosine",
	Doc:     "falls as half a cosine to the end",
	UsesEnd: true,
	Reads:   []setting.Use{minLR.Use()},
	After: func(_ Course, done, left int) float64 {
		return 0.5 * (1 + math.Cos(math.Pi*float64(done)/float64(left)))
	},
})
