#ifndef CSGATE_RESIZE_H
#define CSGATE_RESIZE_H

#include "simd.h"

/* Separable resampling in fixed point, one row at a time: Pillow's ImagingResample for 8-bit pictures, to the last bit
 * (Pillow 13 takes the height first where it shrinks much more than the width; the order here is always width first, which
 * then differs by a level here and there).
 *
 * Weights have 22 fractional bits. The horizontal pass turns a source row of interleaved bytes into three planes of
 * levels, 0 to 255 in int16; the vertical pass turns a few such rows into int32 levels. Both round to whole levels, as
 * Pillow's two passes do. Nothing overflows 32 bits: weights are never negative and sum to 1, give or take their rounding.
 *
 * Vector units multiply 16-bit numbers fastest: a weight is split into its upper 15 and its lower 8 bits there, and
 * the two sums are put together at the end; with VNNI bytes are faster still, and it is three signed digits. */
enum { CSGATE_WEIGHT_BITS = 22, CSGATE_LOW_BITS = 8 };

/* Readable bytes that must follow a source row: vector loads look further than the last pixel. */
enum { CSGATE_ROW_SLACK = 32 };

typedef enum { CSGATE_AREA = 0, CSGATE_BILINEAR = 1 } csgate_filter;

/* What one axis needs: output i is the sum over t < taps of weight[i * taps + t] * input[first[i] + t].
 * `taps` is the same for all outputs and a multiple of four; the weights behind an output's own are zero. */
typedef struct {
    uint32_t outputs; /* of the axis */
    uint32_t taps;
    uint32_t most; /* the largest of `count` */
    int32_t *first;
    int32_t *count; /* taps that belong to the output; the rest are padding */
    int32_t *weight;
} csgate_axis;

/* Taps (a multiple of four) that resampling the window [low, high) of `inputs` to `outputs` needs. */
uint32_t csgate_axis_taps(csgate_filter filter, double low, double high, uint32_t inputs, uint32_t outputs);

/* Fills `axis`, whose arrays the caller owns: `outputs` entries for first and count, outputs * taps weights, taps
 * from csgate_axis_taps() of the same arguments. The window [low, high) lies within [0, inputs] and is not empty.
 * `room` is for the call to use: axis->taps numbers. */
void csgate_axis_fill(csgate_axis *axis, csgate_filter filter, double low, double high, uint32_t inputs, double *room);

/* Int16 values that csgate_axis_spread() writes: weights, split in two or three, in the order in which a level's
 * horizontal pass reads them; 0 where it reads axis->weight itself. */
uint64_t csgate_spread_size(csgate_simd level, const csgate_axis *axis);
void csgate_axis_spread(csgate_simd level, const csgate_axis *axis, int16_t *spread);

/* One source row -> `planes`: int16[3][stride], stride a multiple of 16 and at least axis->outputs; what lies between
 * outputs and stride is undefined. `row` has pixels of `channels` (3 or 4) bytes, the fourth of which is ignored,
 * and CSGATE_ROW_SLACK + 4 * axis->taps readable bytes behind its last pixel. */
void csgate_row_resample(csgate_simd level, const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                         const int16_t *spread, int16_t *planes, uint64_t stride);

/* The same for a row that keeps its width: pixels [0, n) are only split into planes. */
void csgate_row_split(csgate_simd level, const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes,
                      uint64_t stride);

/* levels[i] = sum over t of rows[t][i] * weight[t], rounded, for i < n, n a multiple of 16. A single weight is 1. */
void csgate_rows_blend(csgate_simd level, const int16_t *const *rows, const int32_t *weight, uint32_t taps,
                       int32_t *levels, uint64_t n);

/* n pixels RGBA -> RGB and a fourth byte without meaning, composed over `fill`. */
void csgate_row_compose(csgate_simd level, const uint8_t *rgba, uint32_t n, const uint8_t fill[3], uint8_t *rgbx);

#endif
