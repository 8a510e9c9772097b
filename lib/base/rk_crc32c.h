/* lib/base/rk_crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), in hardware where the CPU has it. */
#ifndef RK_CRC32C_H
#define RK_CRC32C_H

#include "lib/base/rk_slice.h"

/* Continue from an earlier crc (0 to start). */
uint32_t rk_crc32c(uint32_t crc, struct rk_slice s);

#endif
