// The number formats that products are made of.
#ifndef GT_FORMATS_H
#define GT_FORMATS_H

// Products of F32 and BF16 are summed in F32, those of INT16 and INT8 in 32-bit integers.
enum { GT_FORMAT_F32 = 0, GT_FORMAT_BF16, GT_FORMAT_INT16, GT_FORMAT_INT8 };

#endif
