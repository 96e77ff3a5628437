// Package optim holds learning-rate schedules and optimizers: it turns summed gradients into new parameters, on the
// backend where they lie. It knows no loss, no data and no session.
//
//	schedule.Course(settings, steps) → course; schedule.Factor(course, step): a pure function          (schedule.go)
//	optimizer.Start(parameters, settings):                                                              (optimizer.go)
//	    one graph over all parameters for the gradient norm, one for the update; both compiled          (compute.go)
//	running.GradNorm(): run the first; add the rows' sums of squares in order
//	running.Update(rate, scale): upload the constants, run the second; a row that is not finite after is named
//	running.State(): what a checkpoint holds beside the parameters
//
// An optimizer is a file (adamw.go), and so is a schedule (cosine.go).
package optim
