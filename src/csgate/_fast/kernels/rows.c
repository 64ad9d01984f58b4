#include "rows.h"

#include <string.h>

/* Plain C first: the scalar level, and the ends that vectors leave over. */

static void resample_from(uint32_t begin, const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                          int16_t *planes, uint64_t stride) {
    for (uint32_t i = begin; i < axis->outputs; i++) {
        const uint8_t *pixel = row + (uint64_t)axis->first[i] * channels;
        const int32_t *k = axis->weight + (uint64_t)i * axis->taps;
        int32_t sum[3] = {HALF, HALF, HALF};
        for (int32_t t = 0; t < axis->count[i]; t++, pixel += channels) {
            sum[0] += pixel[0] * k[t];
            sum[1] += pixel[1] * k[t];
            sum[2] += pixel[2] * k[t];
        }
        planes[i] = (int16_t)(sum[0] >> SHIFT);
        planes[stride + i] = (int16_t)(sum[1] >> SHIFT);
        planes[2 * stride + i] = (int16_t)(sum[2] >> SHIFT);
    }
}

static void split_from(uint32_t begin, const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes,
                       uint64_t stride) {
    for (uint32_t i = begin; i < n; i++) {
        planes[i] = row[(uint64_t)i * channels];
        planes[stride + i] = row[(uint64_t)i * channels + 1];
        planes[2 * stride + i] = row[(uint64_t)i * channels + 2];
    }
}

static void compose_from(uint32_t begin, const uint8_t *rgba, uint32_t n, const uint8_t fill[3], uint8_t *rgbx) {
    for (uint32_t i = begin; i < n; i++) {
        const uint32_t alpha = rgba[4 * (uint64_t)i + 3];
        for (unsigned c = 0; c < 3; c++) {
            /* Exact division by 255 with rounding for every 16-bit product. */
            const uint32_t mixed = rgba[4 * (uint64_t)i + c] * alpha + fill[c] * (255 - alpha) + 128;
            rgbx[4 * (uint64_t)i + c] = (uint8_t)((mixed + (mixed >> 8)) >> 8);
        }
        rgbx[4 * (uint64_t)i + 3] = 255;
    }
}

static void blend_plain(const int16_t *const *rows, const int32_t *weight, uint32_t taps, int32_t *levels,
                        uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        levels[i] = HALF;
    }
    for (uint32_t t = 0; t < taps; t++) {
        const int16_t *row = rows[t];
        const int32_t k = weight[t];
        for (uint64_t i = 0; i < n; i++) {
            levels[i] += row[i] * k;
        }
    }
    for (uint64_t i = 0; i < n; i++) {
        levels[i] >>= SHIFT;
    }
}

/* Outputs that a level makes at a time and wants its weights arranged for; 1: one by one; 0: takes them as they are. */
static uint32_t block_of(csgate_simd level) {
#if defined(CSGATE_X86)
    return level == CSGATE_AVX512   ? CSGATE_AVX512_BLOCK
           : level == CSGATE_AVX2  ? CSGATE_AVX2_BLOCK
           : level == CSGATE_SSSE3 ? 1
                                   : 0;
#else
    (void)level;
    return 0;
#endif
}

uint64_t csgate_spread_size(csgate_simd level, const csgate_axis *axis) {
    const uint32_t block = block_of(level);
    if (block < 4) {
        return block * (uint64_t)axis->outputs * axis->taps * 2;
    }
    return (uint64_t)(axis->outputs / block * block) * axis->taps * (block == CSGATE_DIGITS_BLOCK ? 6 : 8);
}

/* The upper or the lower parts of n weights. */
static void split_weights(const int32_t *weight, unsigned n, int upper, int16_t *parts) {
    for (unsigned t = 0; t < n; t++) {
        parts[t] = (int16_t)(upper ? weight[t] >> LOW : weight[t] & LOW_MASK);
    }
}

/* A weight is digits[0] << 16 + digits[1] << 8 + digits[2], each from -128 to 127. Register p of a block holds outputs
 * p, p + 4, …, four taps for each of four channels: for every four taps the first digits, the second, the third ones. */
static void spread_digits(const csgate_axis *axis, uint32_t block, int8_t *spread) {
    enum { DIGITS = 3, LANE = 16 };
    const uint32_t registers = 4, size = LANE * (block / registers), groups = axis->taps / 4;
    for (uint32_t i = 0; i + block <= axis->outputs; i += block) {
        for (uint32_t at = 0; at < block; at++) {
            const int32_t *k = axis->weight + (uint64_t)(i + at) * axis->taps;
            int8_t *to = spread + ((uint64_t)i / block * registers + at % registers) * groups * DIGITS * size +
                         at / registers * LANE;
            for (uint32_t g = 0; g < groups; g++, k += 4, to += DIGITS * size) {
                int8_t quads[DIGITS][4];
                for (unsigned t = 0; t < 4; t++) {
                    const int32_t rest = (k[t] + 128) >> LOW;
                    quads[0][t] = (int8_t)((rest + 128) >> LOW);
                    quads[1][t] = (int8_t)(rest & LOW_MASK);
                    quads[2][t] = (int8_t)(k[t] & LOW_MASK);
                }
                for (unsigned digit = 0; digit < DIGITS; digit++) {
                    for (unsigned c = 0; c < 4; c++) {
                        memcpy(to + digit * size + 4 * c, quads[digit], 4);
                    }
                }
            }
        }
    }
}

void csgate_axis_spread(csgate_simd level, const csgate_axis *axis, int16_t *spread) {
    const uint32_t block = block_of(level);
    if (block == 1) { /* four upper parts, four lower, and so on */
        for (uint64_t t = 0; t < (uint64_t)axis->outputs * axis->taps; t += 4, spread += 8) {
            split_weights(axis->weight + t, 4, 1, spread);
            split_weights(axis->weight + t, 4, 0, spread + 4);
        }
    }
    if (block == CSGATE_DIGITS_BLOCK) {
        spread_digits(axis, block, (int8_t *)spread);
    }
    if (block < 4 || block == CSGATE_DIGITS_BLOCK) {
        return;
    }
    /* Register p of a block holds outputs p, p + 4, …, a pair of taps for each of four channels: for every four taps
     * the upper parts of taps 0 and 1, of 2 and 3, the lower of 0 and 1, of 2 and 3. */
    for (uint32_t i = 0; i + block <= axis->outputs; i += block) {
        for (uint32_t p = 0; p < 4; p++) {
            for (uint32_t t = 0; t < axis->taps; t += 4) {
                for (uint32_t part = 0; part < 4; part++) {
                    for (uint32_t output = i + p; output < i + block; output += 4, spread += 8) {
                        int16_t pair[2];
                        split_weights(axis->weight + (uint64_t)output * axis->taps + t + part % 2 * 2, 2, part < 2, pair);
                        for (unsigned c = 0; c < 4; c++) {
                            memcpy(spread + 2 * c, pair, 4);
                        }
                    }
                }
            }
        }
    }
}

void csgate_row_resample(csgate_simd level, const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                         const int16_t *spread, int16_t *planes, uint64_t stride) {
    uint32_t done = 0;
    switch (level) {
#if defined(CSGATE_X86)
        case CSGATE_AVX512:
            done = csgate_resample_avx512(row, channels, axis, spread, planes, stride);
            break;
        case CSGATE_AVX2:
            done = csgate_resample_avx2(row, channels, axis, spread, planes, stride);
            break;
        case CSGATE_SSSE3:
            done = csgate_resample_ssse3(row, channels, axis, spread, planes, stride);
            break;
#elif defined(CSGATE_ARM64)
        case CSGATE_NEON:
            done = csgate_resample_neon(row, channels, axis, planes, stride);
            break;
#endif
        default:
            (void)spread;
    }
    resample_from(done, row, channels, axis, planes, stride);
}

void csgate_row_split(csgate_simd level, const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes,
                      uint64_t stride) {
    uint32_t done = 0;
#if defined(CSGATE_X86)
    if (level >= CSGATE_SSSE3) {
        done = csgate_split_ssse3(row, channels, n, planes, stride);
    }
#elif defined(CSGATE_ARM64)
    if (level == CSGATE_NEON) {
        done = csgate_split_neon(row, channels, n, planes, stride);
    }
#else
    (void)level;
#endif
    split_from(done, row, channels, n, planes, stride);
}

void csgate_rows_blend(csgate_simd level, const int16_t *const *rows, const int32_t *weight, uint32_t taps,
                       int32_t *levels, uint64_t n) {
#if defined(CSGATE_X86)
    if (level == CSGATE_AVX512) {
        csgate_blend_avx512(rows, weight, taps, levels, n);
        return;
    }
    if (level == CSGATE_AVX2) {
        csgate_blend_avx2(rows, weight, taps, levels, n);
        return;
    }
#else
    (void)level;
#endif
    blend_plain(rows, weight, taps, levels, n);
}

void csgate_row_compose(csgate_simd level, const uint8_t *rgba, uint32_t n, const uint8_t fill[3], uint8_t *rgbx) {
    uint32_t done = 0;
#if defined(CSGATE_X86)
    if (level >= CSGATE_SSSE3) {
        done = csgate_compose_ssse3(rgba, n, fill, rgbx);
    }
#else
    (void)level;
#endif
    compose_from(done, rgba, n, fill, rgbx);
}
