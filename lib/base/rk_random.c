/* lib/base/rk_random.c - random numbers from the kernel. */
#include "lib/base/rk_random.h"

#include <errno.h>
#include <sys/random.h>

#include "lib/base/rk_assert.h"

uint64_t rk_random_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        /* Up to 256 bytes come whole or not at all. */
        ssize_t n = getrandom(&id, sizeof(id), 0);
        rk_assert(n == (ssize_t)sizeof(id) || (n < 0 && errno == EINTR));
        if (n < 0)
            id = 0;
    }
    return id;
}
