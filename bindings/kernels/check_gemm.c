// Checks of the products' arguments.
#include "level.h"
