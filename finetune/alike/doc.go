// Package alike finds texts that say what an earlier one says: exactly, or nearly. It knows no file and no format.
//
// Two texts are nearly alike if their sets of pieces, every 5 letters that follow one another, have a Jaccard
// similarity of 0.8 (Broder 1997, On the resemblance and containment of documents), and so have their parts: the
// question, the answer. Short parts must be the same. To look at every two would take
// quadratic time. So each text gets a signature: a hash parts its pieces into bins, and each bin keeps its least (one
// permutation hashing, Li, Owen and Zhang 2012; empty bins borrow from others, Shrivastava 2017). Two signatures agree
// in a bin with the probability of the texts' similarity. Texts that agree in a whole band of bins are candidates
// (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3), and those whose signatures agree well enough are
// read again and compared piece by piece. So nothing is called alike that is not; of those that are alike at 0.8, one
// in a hundred is missed, and fewer of those that are more alike.
//
//	learn(some texts)     which passages stand in many: a system prompt, a task's definition   (common.go)
//	Add(text)
//	    its hash is known              exactly alike
//	    pieces(text)                   letters, 5 at a time, without the common passages       (pieces.go)
//	    signature, bands → candidates  compared piece by piece: nearly alike                   (index.go)
package alike
