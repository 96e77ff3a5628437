// Attention; included by every kern_*.c.
