package run

import (
	"fmt"

	"github.com/ggtune/ggtune/finetune/report"
)

// draw makes what of the run so far is to be looked at: the losses, of a run by rewards their figures, and the samples.
func (r *run) draw() error {
	title := func(what string) string { return fmt.Sprintf("%s: %s of %s", r.cfg.Output, what, r.how.Name) }
	if err := report.WriteSamples(r.dir.file(filePage), title("samples"), r.answered.Lines()); err != nil {
		return err
	}
	lines := r.log.Lines()
	if !r.how.Rewarded() {
		return report.WritePlot(r.dir.file(filePlot), title("loss"), "loss ("+report.LossUnit(r.how.Unit)+")", lines,
			r.meta.EvalBefore)
	}
	if err := report.WriteFigures(r.dir.file(fileFigures), title("figures"), lines, r.meta.Before); err != nil {
		return err
	}
	return report.WritePlot(r.dir.file(filePlot), title("reward"), "reward", report.RewardLines(lines),
		r.rewardBefore())
}
