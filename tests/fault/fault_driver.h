/* tests/fault/fault_driver.h - how a run of fault_driver ends; fault.py knows the same numbers. */
#ifndef FAULT_DRIVER_H
#define FAULT_DRIVER_H

#include "tests/unit/node_fixture.h"

#define DRIVER_OK         0
#define DRIVER_FAILED     3 /* the storage has failed: the daemon would have ended with its sentence */
#define DRIVER_REFUSED    4 /* a start, or a restore, was refused with a sentence */
#define DRIVER_SPEECHLESS 5 /* ... without one */
#define DRIVER_STUCK      6 /* nothing went on, and nobody said why */
#define DRIVER_LOST       7 /* something that was acknowledged is not there */

/* Longer than any election or catching up of these lives, sanitizers included. */
#define DRIVER_PATIENCE_US (15 * RK_USEC_PER_SEC)

#endif
