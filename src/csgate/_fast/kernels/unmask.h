#ifndef CSGATE_UNMASK_H
#define CSGATE_UNMASK_H

#include "simd.h"

/* RFC 6455 section 5.3: data[i] ^= key[(phase + i) % 4] for i < n, in place, at any alignment.
 * Returns the phase of the byte after the last, so that a payload may come in any pieces. */
unsigned csgate_unmask(csgate_simd level, uint8_t *data, uint64_t n, const uint8_t key[4], unsigned phase);

#endif
