// Package data turns files of training data into Examples, one file of this package per format. It knows no chat
// template and no token.
//
//	Open(paths):                                            (dataset.go)
//	    for each file, expanded if it is compressed         (file.go)
//	        its container, by what is in it                 JSON, lines, CSV, Parquet, text (box_*.go)
//	        for each record: fields with values             (record.go)
//	            the first one's format is that of all       (format.go, format_*.go)
//	            examples ← format.Examples(record)          what nothing can be learned from is dropped, and counted
//	            remember where it lies, not what it says
//	At(i) reads the record again
//
// Every error names file and line.
package data
