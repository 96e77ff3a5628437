// Package encode turns text into token rows and back: it is the only place where text meets tokens. It knows which
// tokens count, how rows are cut and packed, and where in the data a run stands; it knows no file format and no loss.
//
//	spans → tokens, each counted if a byte of its text is trained on        (encode.go, tokenizer.go)
//	a pair or a verdict → a tree: the prompt, and its answers as children   (tree.go, verdict.go)
//	items longer than a row: cut, dropped or refused, and counted           (dataset.go)
//	items → rows                                                            (pack.go)
//	rows → micro-batches: a pure function of dataset, options and cursor    (loader.go)
//	a Stream is a loader that knows its place                               (stream.go)
package encode
