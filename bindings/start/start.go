// Package start looks, before Go's runtime begins, whether a program has the memory to begin at all, and ends it with
// one line where it has not. It is for programs, which import it for that effect; it knows nothing of what they do.
package start

import "C" // start.c
