#ifndef CSGATE_QUOTE_H
#define CSGATE_QUOTE_H

#include "simd.h"

/* Index of the first quotation mark or backslash of data[0, n), or n: where a JSON string (RFC 8259 section 7) ends, or
 * its first escape. */
uint64_t csgate_find_quote(csgate_simd level, const uint8_t *data, uint64_t n);

/* The first string of at least `least` bytes in JSON data[0, n): 1, and what is between its quotation marks is
 * data[*begin, *end). 0 if there is none, if it has escapes, or if what comes before it is no JSON. */
int csgate_long_string(csgate_simd level, const uint8_t *data, uint64_t n, uint64_t least, uint64_t *begin,
                       uint64_t *end);

#endif
