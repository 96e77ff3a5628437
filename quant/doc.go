// Package quant changes the storage types of a model's tensors. It does not know what the change costs a model in loss,
// which is measured elsewhere.
//
//	plan := NewPlan(file, choice)       the type of each tensor: a mix's, by the tensor's place (package mix)
//	Write(plan, rows, path):            one GGUF file, atomically
//	    for each tensor:                as it stands, where neither numbers nor type change, else
//	        a few rows at a time        on as many threads as there are cores, written in their order:
//	            rows.Read               F32: the file's own (FileRows), or a caller's (a merged adapter)
//	            ggml.QuantizeTo         the bytes of llama.cpp's quantizer
//	            ggml.DequantizeTo       what was lost: Result
//
// Memory is a few rows a thread, whatever the model's size.
package quant
