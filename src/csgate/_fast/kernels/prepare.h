#ifndef CSGATE_PREPARE_H
#define CSGATE_PREPARE_H

#include "emit.h"
#include "resize.h"

/* A decoded picture and where it goes. */
typedef struct {
    const uint8_t *pixels; /* uint8[height, width, channels], C-contiguous */
    uint32_t width, height;
    uint32_t channels; /* 3, or 4 */
    int alpha;         /* of 4 channels: the fourth is alpha, composed over `fill`; else it is ignored */
    csgate_filter filter;
    double box[4];      /* left, upper, right, lower of the part that is shown, in source pixels; not empty */
    uint32_t window[4]; /* left, upper, width, height of where it is shown in the tensor; at least 1 by 1 */
    uint8_t fill[3];    /* colour of the rest */
    csgate_tensor tensor;
    uint32_t taps[2]; /* across and down: found by csgate_prepare_scratch(), for csgate_prepare() */
} csgate_picture;

/* Bytes of scratch memory, 64-byte aligned, that csgate_prepare() needs for this picture; nothing else is allocated. */
uint64_t csgate_prepare_scratch(csgate_simd level, csgate_picture *picture);

void csgate_prepare(csgate_simd level, const csgate_picture *picture, void *scratch);

#endif
