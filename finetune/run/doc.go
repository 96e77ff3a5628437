// Package run carries one training run from its settings to a result that llama.cpp has loaded: it wires data, model,
// loop, checkpoints and report together, goes on with a run that was stopped, and measures a model the way a run does.
// It knows no flag and no terminal.
//
//	Train(config):                                                                    (run.go)
//	    open: model, rows, memory planned; nothing is written yet                     (setup.go)
//	    begin: directory, session and optimizer; with Resume, the newest checkpoint   (dir.go, numbers.go, resume.go)
//	        the reference's log-probabilities, the base's loss and its distance from llama.cpp
//	                                                                                  (reference.go, measure.go)
//	    finetune.Loop; after each step: report, evaluate, save                        (run.go, measure.go)
//	    finish: the best or last numbers → a temporary file → llama.cpp loads it and computes the same → its name;
//	        report.json                                                               (finish.go)
//	Evaluate(config, adapter): a loss, as Train would measure it                      (evaluate.go)
package run
