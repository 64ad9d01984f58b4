#ifndef CSGATE_ROWS_H
#define CSGATE_ROWS_H

/* The versions of resize.h's row kernels above plain C. Those that return a number have made that many outputs, whole
 * vectors, and leave the rest to the caller. */

#include "resize.h"

enum {
    SHIFT = CSGATE_WEIGHT_BITS, /* from a sum of products to a level */
    LOW = CSGATE_LOW_BITS,
    LOW_MASK = (1 << LOW) - 1,
    HALF = 1 << (SHIFT - 1)
};

/* The block of the level that takes weights as digits of eight bits; no other has it. */
enum { CSGATE_DIGITS_BLOCK = 16 };

#if defined(CSGATE_X86)
/* Outputs that one step of a level makes; the spread of weights follows it. */
enum { CSGATE_AVX2_BLOCK = 8, CSGATE_AVX512_BLOCK = CSGATE_DIGITS_BLOCK };

uint32_t csgate_resample_ssse3(const uint8_t *row, uint32_t channels, const csgate_axis *axis, const int16_t *spread,
                               int16_t *planes, uint64_t stride);
uint32_t csgate_resample_avx2(const uint8_t *row, uint32_t channels, const csgate_axis *axis, const int16_t *spread,
                              int16_t *planes, uint64_t stride);
uint32_t csgate_resample_avx512(const uint8_t *row, uint32_t channels, const csgate_axis *axis, const int16_t *spread,
                                int16_t *planes, uint64_t stride);
uint32_t csgate_split_ssse3(const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes, uint64_t stride);
uint32_t csgate_compose_ssse3(const uint8_t *rgba, uint32_t n, const uint8_t fill[3], uint8_t *rgbx);
void csgate_blend_avx2(const int16_t *const *rows, const int32_t *weight, uint32_t taps, int32_t *levels, uint64_t n);
void csgate_blend_avx512(const int16_t *const *rows, const int32_t *weight, uint32_t taps, int32_t *levels, uint64_t n);
#elif defined(CSGATE_ARM64)
uint32_t csgate_resample_neon(const uint8_t *row, uint32_t channels, const csgate_axis *axis, int16_t *planes,
                              uint64_t stride);
uint32_t csgate_split_neon(const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes, uint64_t stride);
#endif

#endif
