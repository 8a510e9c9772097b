/* tests/fault/fault_shim.h - what a program and its parent see of the preloaded library (fault_shim.c). */
#ifndef FAULT_SHIM_H
#define FAULT_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

enum fault_kind { FAULT_ALLOC, FAULT_IO, FAULT_OPEN, FAULT_READ, FAULT_NONE };

/* Native byte order; fault.py reads it. */
struct fault_tally {
    _Atomic uint64_t count[FAULT_NONE]; /* calls of each kind so far */
    _Atomic uint64_t fired;             /* failures dealt out */
};

/* Starts to count, with FAULT_WAIT. A weak reference: NULL where the library was not preloaded. */
void fault_begin(void) __attribute__((weak));

#endif
