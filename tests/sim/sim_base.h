/* tests/sim/sim_base.h - see sim_base.c. */
#ifndef SIM_BASE_H
#define SIM_BASE_H

#include "lib/base/rk_random.h"

/* log may be NULL: nobody reads it. */
void sim_base_use(struct rk_random *random, void (*log)(const char *line));

#endif
