// Package engine computes: it maps a model's weights, runs forward and backward passes over them, and holds the trained
// parameters with their gradients. It knows no training method, no dataset and no text.
//
//	model ← Open(file)                    arch.Of says which layers; every tensor is there, with its shape (model.go)
//	session ← NewSession(model, config)   the backend holds the weights                           (session.go)
//	    named sets of what is applied and trained: deltas beside weights, whole tensors, heads    (sets.go, deltas.go)
//	    their numbers and gradients get memory                                                    (params.go)
//	Forward(batch, options):
//	    which sets apply, and which get gradients
//	    rows → one forest of tokens, and which of them each output reads          (batch.go, flatten.go)
//	    a stage for the embedding, each layer and what is wanted of the last one's output; those alike are one
//	                                                                              (pass.go, stage.go, output.go)
//	        graph ← layer.Build; backward ← graph.Differentiate; both compiled by the backend
//	    of each layer, from the last one down: are its activations kept, or computed again?   (pass.go)
//	    run the stages upwards: x[i+1] ← stage[i](x[i]); download the outputs
//	Backward(gradients of the outputs):
//	    run the stages downwards to the lowest with something trained: dx[i] ← back[i](x[i], dx[i+1]);
//	    the parameters' gradients are added to                                    (pass.go, ready.go)
//
// Plan is all of that without the memory (plan.go). Session.Set and Session.SaveModel give what was trained (sets.go,
// save.go).
package engine
