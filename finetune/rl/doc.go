// Package rl gives out the micro-batches of reinforcement learning: the model answers prompts, rewards judge the
// answers, and what is known of each token goes with it. It knows no loss, no update and no run.
//
// A rollout, in outline:
//
//	prompts   = the next of the data's order                          encode.Loader
//	answers   = the model in training writes G to each                Writer (finetune/rollout)
//	            or G exchanges of turns, which a program answers      exchange.go (finetune/environment)
//	rewards   = what each reward says of them, weighed and added      finetune/reward
//	old, ref  = log-probabilities, and values, as training sees them  Engine
//	            → on disk: nothing of it is asked for twice
//	weight    = how far the writer's log-probabilities are from old   mismatch.go
//	advantage = the method's                                          method.Advantages
//	updates   = every prompt with its answers a tree, in minibatches, once or several times
//
// Source is that as a source of the training loop; Measure is its first half on held-out prompts. Of a method that is
// not rewarded only answers and updates are left: what is learned from an answer its teacher says, who is asked by the
// loop. Answer is that on held-out prompts.
package rl
