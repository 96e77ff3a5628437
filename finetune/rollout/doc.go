// Package rollout lets the policy write answers to prompts, many at a time, and says how likely it found each token:
// through llama.cpp, or by the session that trains (own.go), to the bits of training. It knows nothing of rewards,
// methods or training.
//
//	w := Open(Config{Model, Ctx, Parallel})         Parallel sequences of one context, Ctx tokens each
//	each step:
//	  w.Hold(adapter)                               the policy as it is now, from memory
//	  answers := w.Write(prompts, G, sampling)
//	    for each answer, prompt by prompt           schedule.go: in this order they get a free sequence
//	      its prompt is read there, once; or copied from a sequence that begins with it; or is there already
//	    until all have ended
//	      read the last token of every sequence     one computation for all; pace.go: with one thread, where other
//	                                                programs have the cores and all threads wait for each other
//	      draw the next of each                     draw.go: softmax at the temperature, nothing cut off
//	      who has ended makes room for the next answer
//
// What is written depends on the model, the adapter, the prompts, the Sampling and the Config but for its threads, and
// on nothing else: which answer is in which sequence follows from the tokens drawn, never from time, and the random
// number behind each token is a function of seed, step, prompt, sample and place (random.go). So a rollout that was
// interrupted is made again, to the bit. Through llama.cpp another Parallel gives other answers only where llama.cpp
// rounds the product of a matrix with one row otherwise than that with several: for weights in f32 and f16, for
// adapters beside them, and for its copies of K types.
package rollout
