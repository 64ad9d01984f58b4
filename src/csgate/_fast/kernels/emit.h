#ifndef CSGATE_EMIT_H
#define CSGATE_EMIT_H

#include "simd.h"

typedef enum { CSGATE_FLOAT32 = 0, CSGATE_FLOAT16 = 1, CSGATE_UINT8 = 2 } csgate_dtype;
typedef enum { CSGATE_NCHW = 0, CSGATE_NHWC = 1 } csgate_layout;

/* One picture's place in a batch, C-contiguous: [3, height, width] or [height, width, 3] of dtype. Floats are
 * level * mul[c] + add[c], rounded to float32 after each operation, then once to float16; uint8 is the level. */
typedef struct {
    void *data;
    csgate_dtype dtype;
    csgate_layout layout;
    uint32_t width, height;
    double mul[3], add[3];
} csgate_tensor;

/* Writes pixels [x, x + n) of row y from levels of 0 to 255: int32[3][stride]. */
void csgate_emit_row(csgate_simd level, const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n,
                     const int32_t *levels, uint64_t stride);

/* The short way for a picture that is not resized, where there is one: the same pixels straight from a source row of
 * `channels` (3 or 4) bytes, with CSGATE_ROW_SLACK readable bytes behind it. */
int csgate_emits_pixels(csgate_simd level, const csgate_tensor *tensor);
void csgate_emit_pixels(csgate_simd level, const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n,
                        const uint8_t *row, uint32_t channels);

/* Writes one colour to the same pixels. */
void csgate_emit_fill(const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n, const uint8_t fill[3]);

#endif
