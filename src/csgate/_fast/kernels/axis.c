#include "resize.h"

#include <string.h>

/* The weights are Pillow's (src/libImaging/Resample.c, precompute_coeffs), computed in the same order in double
 * precision: a triangle or a box around the output's centre, widened by the scale when shrinking. */

static double weight(csgate_filter filter, double x) {
    if (filter == CSGATE_AREA) {
        return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    }
    if (x < 0.0) {
        x = -x;
    }
    return x < 1.0 ? 1.0 - x : 0.0;
}

typedef struct {
    double low, scale, inverse, support;
} sampling;

static sampling sample(csgate_filter filter, double low, double high, uint32_t outputs) {
    sampling s;
    s.low = low;
    s.scale = (double)((float)high - (float)low) / outputs; /* Pillow subtracts in single precision */
    const double stretch = s.scale < 1.0 ? 1.0 : s.scale;
    s.inverse = 1.0 / stretch;
    s.support = (filter == CSGATE_AREA ? 0.5 : 1.0) * stretch;
    return s;
}

typedef struct {
    double centre;
    int32_t first, behind;
} window;

static window around(const sampling *s, uint32_t output, uint32_t inputs) {
    window w;
    w.centre = s->low + (output + 0.5) * s->scale;
    const double from = w.centre - s->support + 0.5, to = w.centre + s->support + 0.5;
    w.first = from < 0.0 ? 0 : (int32_t)from;
    w.behind = to > (double)inputs ? (int32_t)inputs : (int32_t)to;
    return w;
}

uint32_t csgate_axis_taps(csgate_filter filter, double low, double high, uint32_t inputs, uint32_t outputs) {
    const sampling s = sample(filter, low, high, outputs);
    int32_t most = 1;
    for (uint32_t i = 0; i < outputs; i++) {
        const window w = around(&s, i, inputs);
        most = w.behind - w.first > most ? w.behind - w.first : most;
    }
    return ((uint32_t)most + 3) & ~UINT32_C(3);
}

void csgate_axis_fill(csgate_axis *axis, csgate_filter filter, double low, double high, uint32_t inputs,
                      double *room) {
    const sampling s = sample(filter, low, high, axis->outputs);
    const double one = (double)(1 << CSGATE_WEIGHT_BITS);
    axis->most = 1;
    for (uint32_t i = 0; i < axis->outputs; i++) {
        const window w = around(&s, i, inputs);
        const int32_t count = w.behind - w.first;
        int32_t *fixed = axis->weight + (uint64_t)i * axis->taps;
        memset(fixed, 0, axis->taps * sizeof *fixed);
        double total = 0.0;
        for (int32_t t = 0; t < count; t++) {
            room[t] = weight(filter, (t + w.first - w.centre + 0.5) * s.inverse);
            total += room[t];
        }
        for (int32_t t = 0; t < count; t++) {
            fixed[t] = (int32_t)(room[t] / total * one + 0.5);
        }
        /* Taps at the rim of a triangle weigh nothing: leave them out. */
        int32_t skip = 0, used = count;
        while (used > 1 && fixed[used - 1] == 0) {
            used--;
        }
        while (skip < used - 1 && fixed[skip] == 0) {
            skip++;
        }
        if (skip > 0) {
            memmove(fixed, fixed + skip, (size_t)(used - skip) * sizeof *fixed);
            memset(fixed + used - skip, 0, (size_t)skip * sizeof *fixed);
        }
        axis->first[i] = w.first + skip;
        axis->count[i] = used - skip;
        axis->most = (uint32_t)(used - skip) > axis->most ? (uint32_t)(used - skip) : axis->most;
    }
}
