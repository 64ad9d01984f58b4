#ifndef CSGATE_QUOTE_H
#define CSGATE_QUOTE_H

#include "simd.h"

/* Index of the first quotation mark or backslash of data[0, n), or n: where a JSON string (RFC 8259 section 7) ends, or
 * its first escape. */
uint64_t csgate_find_quote(csgate_simd level, const uint8_t *data, uint64_t n);

#endif
