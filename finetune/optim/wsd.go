package optim

import "github.com/ggtune/ggtune/internal/setting"

var decay = &setting.Setting{
	Name:    "decay",
	Usage:   "fall at the end of schedule wsd, over `N` steps, or a fraction of all below 1",
	Range:   setting.Below(0, 1e9, "steps, or a fraction below 1"),
	Default: new(0.2),
}

// WSD is warm-up, stable, decay (Hu et al. 2024, "MiniCPM", section 4), with a straight fall.
var WSD = registerSchedule(&Schedule{
	Name:    "wsd",
	Doc:     "stays at the peak, then falls in a straight line over the last steps",
	UsesEnd: true,
	Reads:   []setting.Use{decay.Use(), minLR.Use()},
	After: func(c Course, done, left int) float64 {
		fall := min(inSteps(c.Settings.Of(decay), c.Steps), left)
		if into := done - (left - fall); into > 0 {
			return 1 - float64(into)/float64(fall)
		}
		return 1
	},
})
