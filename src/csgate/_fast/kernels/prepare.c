#include "prepare.h"

#include <string.h>

enum { ALIGNMENT = 64 };

/* The parts of the scratch memory. */
typedef struct {
    csgate_axis across, down;
    double *room; /* for csgate_axis_fill() */
    int16_t *spread;
    int16_t *ring; /* horizontally resampled rows, source row r in slot r % slots: int16[slots][3 * stride] */
    uint32_t slots;
    uint64_t stride;
    const int16_t **window;
    int32_t *levels;   /* int32[3 * stride] */
    uint8_t *row;      /* a source row with slack behind it */
    uint64_t overread; /* bytes behind a row that the kernels may look at */
} workplace;

static void *take(uintptr_t *next, uint64_t size) {
    const uintptr_t part = *next;
    *next += (size + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    return (void *)part;
}

static void take_axis(uintptr_t *next, csgate_axis *axis, uint32_t outputs, uint32_t taps) {
    axis->outputs = outputs;
    axis->taps = taps;
    axis->first = take(next, outputs * sizeof *axis->first);
    axis->count = take(next, outputs * sizeof *axis->count);
    axis->weight = take(next, (uint64_t)outputs * taps * sizeof *axis->weight);
}

/* Whether an axis shows as many whole pixels as it has outputs: then nothing is resampled along it. */
static int unscaled(double low, double high, uint32_t outputs) {
    return high - low == (double)outputs && low == (double)(uint32_t)low;
}

static int same_width(const csgate_picture *p) { return unscaled(p->box[0], p->box[2], p->window[2]); }

/* Whether rows go straight from the picture to the tensor. */
static int direct(csgate_simd level, const csgate_picture *p) {
    return same_width(p) && unscaled(p->box[1], p->box[3], p->window[3]) && csgate_emits_pixels(level, &p->tensor);
}

/* Lays the parts out from address `next` on and returns the end; from address 0 that is the size of all. */
static uintptr_t lay_out(csgate_simd level, const csgate_picture *p, uintptr_t next, workplace *w) {
    memset(w, 0, sizeof *w);
    w->overread = CSGATE_ROW_SLACK;
    if (!direct(level, p)) {
        const uint32_t across = p->taps[0], down = p->taps[1];
        take_axis(&next, &w->across, p->window[2], across);
        take_axis(&next, &w->down, p->window[3], down);
        w->stride = ((uint64_t)p->window[2] + 15) & ~UINT64_C(15);
        w->slots = down;
        w->overread += 4 * (uint64_t)across;
        w->room = take(&next, (across > down ? across : down) * sizeof *w->room);
        w->spread = take(&next, csgate_spread_size(level, &w->across) * sizeof *w->spread);
        w->ring = take(&next, w->slots * 3 * w->stride * sizeof *w->ring);
        w->window = take(&next, w->slots * sizeof *w->window);
        w->levels = take(&next, 3 * w->stride * sizeof *w->levels);
    }
    w->row = take(&next, (uint64_t)p->width * 4 + w->overread);
    return next;
}

uint64_t csgate_prepare_scratch(csgate_simd level, csgate_picture *p) {
    workplace w;
    if (!direct(level, p)) {
        p->taps[0] = csgate_axis_taps(p->filter, p->box[0], p->box[2], p->width, p->window[2]);
        p->taps[1] = csgate_axis_taps(p->filter, p->box[1], p->box[3], p->height, p->window[3]);
    }
    return lay_out(level, p, 0, &w);
}

static void fill_axes(csgate_simd level, const csgate_picture *p, workplace *w) {
    csgate_axis_fill(&w->down, p->filter, p->box[1], p->box[3], p->height, w->room);
    if (!same_width(p)) {
        csgate_axis_fill(&w->across, p->filter, p->box[0], p->box[2], p->width, w->room);
        csgate_axis_spread(level, &w->across, w->spread);
    }
    /* What lies between the width and the stride is added up too, and never looked at. */
    memset(w->ring, 0, w->slots * 3 * w->stride * sizeof *w->ring);
}

/* A source row of 3 or 4 channels without alpha, from the box's left edge where the width stays, with readable bytes
 * behind it. Composes or copies it where needed. */
static const uint8_t *source_row(csgate_simd level, const csgate_picture *p, const workplace *w, uint32_t y) {
    const uint64_t size = (uint64_t)p->width * p->channels;
    const uint8_t *row = p->pixels + y * size;
    if (p->channels == 4 && p->alpha) {
        csgate_row_compose(level, row, p->width, p->fill, w->row);
        row = w->row;
    } else if ((p->height - 1 - y) * size < w->overread) {
        memcpy(w->row, row, size);
        row = w->row;
    }
    return same_width(p) ? row + (uint64_t)p->box[0] * p->channels : row;
}

/* Output row y of the window, by way of the ring: `made` source rows are in it, or never needed again. */
static uint32_t resample(csgate_simd level, const csgate_picture *p, workplace *w, uint32_t y, uint32_t made) {
    const uint64_t slot_size = 3 * w->stride;
    const uint32_t first = (uint32_t)w->down.first[y], count = (uint32_t)w->down.count[y];
    for (made = made < first ? first : made; made < first + count; made++) {
        const uint8_t *row = source_row(level, p, w, made);
        int16_t *slot = w->ring + made % w->slots * slot_size;
        if (same_width(p)) {
            csgate_row_split(level, row, p->channels, p->window[2], slot, w->stride);
        } else {
            csgate_row_resample(level, row, p->channels, &w->across, w->spread, slot, w->stride);
        }
    }
    for (uint32_t t = 0; t < count; t++) {
        w->window[t] = w->ring + (first + t) % w->slots * slot_size;
    }
    csgate_rows_blend(level, w->window, w->down.weight + (uint64_t)y * w->down.taps, count, w->levels, slot_size);
    return made;
}

void csgate_prepare(csgate_simd level, const csgate_picture *p, void *scratch) {
    workplace w;
    (void)lay_out(level, p, (uintptr_t)scratch, &w);
    const int straight = direct(level, p);
    if (!straight) {
        fill_axes(level, p, &w);
    }
    memset(w.row + (uint64_t)p->width * p->channels, 0, w.overread);

    const csgate_tensor *tensor = &p->tensor;
    const uint32_t left = p->window[0], upper = p->window[1], width = p->window[2], height = p->window[3];
    uint32_t made = 0;
    for (uint32_t y = 0; y < tensor->height; y++) {
        if (y < upper || y >= upper + height) {
            csgate_emit_fill(tensor, y, 0, tensor->width, p->fill);
            continue;
        }
        if (straight) {
            const uint8_t *row = source_row(level, p, &w, (uint32_t)p->box[1] + y - upper);
            csgate_emit_pixels(level, tensor, y, left, width, row, p->channels);
        } else {
            made = resample(level, p, &w, y - upper, made);
            csgate_emit_row(level, tensor, y, left, width, w.levels, w.stride);
        }
        csgate_emit_fill(tensor, y, 0, left, p->fill);
        csgate_emit_fill(tensor, y, left + width, tensor->width - left - width, p->fill);
    }
}
