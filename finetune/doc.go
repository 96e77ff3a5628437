// Package finetune is the training loop: micro-batches from a source, through engine and method, to updates of an
// optimizer. It knows no file, no text and no settings. Package run wires it:
//
//	settings → corpus: data, template, tokens → rows        (config, data, template, encode, corpus)
//	budget: do the model and its largest micro-batch fit?   (budget)
//	resume: numbers and place from the newest checkpoint    (run, checkpoint)
//	for every step:                                         (this package)
//	    for every micro-batch of the step, from the source:
//	        out ← engine.Forward(batch)
//	        loss, dloss/dout ← method(out, reference)
//	        engine.Backward(dloss/dout)                     adds to the gradients
//	    divide once by what counted, clip, optimizer.Update
//	    report; now and then evaluate and save              (run, eval, report)
//	write, have llama.cpp compute the same from it, publish (run, engine/verify, origin)
//
// A method that couples the rows of a step sees all of them at once: Forward for each, the method once, then Forward
// and Backward for each (coupled.go).
package finetune
