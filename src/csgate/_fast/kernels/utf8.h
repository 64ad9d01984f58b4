#ifndef CSGATE_UTF8_H
#define CSGATE_UTF8_H

#include <stdint.h>

/* Where a text stands between two pieces: `left` continuation bytes are still due, and the next one must lie within
 * [low, high]. All zero at the start and whenever the text may end. */
typedef struct {
    uint8_t left, low, high;
} csgate_utf8;

/* Checks n more bytes (RFC 3629; RFC 6455 section 8.1). Returns how many of them can begin a valid text: n if all may
 * stand, else the index of the first wrong byte, after which `state` must not be used again. */
uint64_t csgate_utf8_feed(csgate_utf8 *state, const uint8_t *data, uint64_t n);

#endif
