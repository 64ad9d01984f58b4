#ifndef CSGATE_BASE64_H
#define CSGATE_BASE64_H

#include "simd.h"

/* Exact size of what n characters decode to, if they are valid. */
uint64_t csgate_base64_size(const uint8_t *src, uint64_t n);

/* Strict Base64 (RFC 4648 section 4, or section 5 with `urlsafe`): padding required, no white space, the bits that
 * padding leaves over must be zero. Writes at most `capacity` bytes to dst, which must hold csgate_base64_size() and
 * must not overlap src; what lies behind the decoded bytes may be overwritten up to the capacity.
 * Returns n if all is well, else the index of the first character that no valid text can have there, which is n + 1
 * when the text merely ends too early. */
uint64_t csgate_base64_decode(csgate_simd level, const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity,
                              int urlsafe);

#endif
