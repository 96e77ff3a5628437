// Norms, rope, activations: everything row by row; included by every kern_*.c.
#include "elementwise.inc.h"
#include "norm.inc.h"
#include "rope.inc.h"
#include "dropout.inc.h"
#include "optim.inc.h"
