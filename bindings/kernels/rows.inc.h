// Norms, rope, activations: everything row by row; included by every kern_*.c.
