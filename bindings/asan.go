//go:build asan

package bindings

/*
// AddressSanitizer asks this function which leaks not to report: those that are the supplier's. Its
// ggml_backend_buffer_free does not free the structure itself; and where an assertion of its becomes an error
// (guard.h), the model or adapter that it was loading is abandoned, which only the tests of broken files meet.
const char * __lsan_default_suppressions(void) {
	return "leak:ggml_backend_buffer_init\n"
	       "leak:llama_model_load_from_file_impl\n"
	       "leak:llama_adapter_lora_init\n";
}
*/
import "C"
