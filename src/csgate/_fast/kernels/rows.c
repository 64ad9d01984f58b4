#include "resize.h"

#include <string.h>

enum {
    SHIFT = CSGATE_WEIGHT_BITS, /* from a sum of products to a level */
    LOW = CSGATE_LOW_BITS,
    LOW_MASK = (1 << LOW) - 1,
    HALF = 1 << (SHIFT - 1),
    BLOCK = 8 /* outputs that the AVX2 version makes at a time */
};

/* --- Plain C: the scalar level, and the ends that vectors leave over ------------------------------------------------ */

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

/* --- x86-64 ------------------------------------------------------------------------------------------------------------ */

#if defined(CSGATE_X86)
/* Masks that spread two pixels of a load to pairs of 16-bit numbers, r0 r1 g0 g1 b0 b1 and the ignored fourth, as the
 * multiply-and-add of pairs wants them: [channels - 3][first or second two pixels]. */
static const int8_t PAIRS[2][2][16] = {
    {{0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1},
     {6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1}},
    {{0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1},
     {8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1}},
};

CSGATE_TARGET("ssse3")
static uint32_t resample_ssse3(const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                               const int16_t *spread, int16_t *planes, uint64_t stride) {
    const __m128i early = _mm_loadu_si128((const __m128i *)PAIRS[channels - 3][0]);
    const __m128i late = _mm_loadu_si128((const __m128i *)PAIRS[channels - 3][1]);
    uint32_t i = 0;
    for (; i + 4 <= axis->outputs; i += 4) {
        __m128i sum[4];
        for (uint32_t p = 0; p < 4; p++) {
            const uint8_t *pixel = row + (uint64_t)axis->first[i + p] * channels;
            __m128i high = _mm_setzero_si128(), low = _mm_set1_epi32(HALF);
            for (uint32_t t = 0; t < axis->taps; t += 4, pixel += 4 * channels, spread += 8) {
                const __m128i four = _mm_loadu_si128((const __m128i *)pixel);
                const __m128i first = _mm_shuffle_epi8(four, early), second = _mm_shuffle_epi8(four, late);
                const __m128i k = _mm_loadu_si128((const __m128i *)spread); /* four upper parts, four lower */
                high = _mm_add_epi32(high, _mm_madd_epi16(first, _mm_shuffle_epi32(k, 0x00)));
                high = _mm_add_epi32(high, _mm_madd_epi16(second, _mm_shuffle_epi32(k, 0x55)));
                low = _mm_add_epi32(low, _mm_madd_epi16(first, _mm_shuffle_epi32(k, 0xAA)));
                low = _mm_add_epi32(low, _mm_madd_epi16(second, _mm_shuffle_epi32(k, 0xFF)));
            }
            sum[p] = _mm_srai_epi32(_mm_add_epi32(_mm_slli_epi32(high, LOW), low), SHIFT);
        }
        const __m128i a = _mm_packs_epi32(sum[0], sum[1]), b = _mm_packs_epi32(sum[2], sum[3]);
        const __m128i even = _mm_unpacklo_epi16(a, b), odd = _mm_unpackhi_epi16(a, b);
        const __m128i rg = _mm_unpacklo_epi16(even, odd), bx = _mm_unpackhi_epi16(even, odd);
        _mm_storel_epi64((__m128i *)(planes + i), rg);
        _mm_storel_epi64((__m128i *)(planes + stride + i), _mm_unpackhi_epi64(rg, rg));
        _mm_storel_epi64((__m128i *)(planes + 2 * stride + i), bx);
    }
    return i;
}

CSGATE_TARGET("ssse3")
static uint32_t split_ssse3(const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes, uint64_t stride) {
    /* Eight pixels are two loads, the second of which begins with a pixel: five and three of 3 bytes, or four and
     * four of 4. The masks take one colour's bytes to the low halves of 16-bit numbers; 0x80 gives zero. */
    const int border = channels == 3 ? 15 : 16;
    __m128i low[3], high[3];
    for (unsigned c = 0; c < 3; c++) {
        uint16_t from_low[8], from_high[8];
        for (int p = 0; p < 8; p++) {
            const int at = p * (int)channels + (int)c;
            from_low[p] = (uint16_t)(at < border ? (0x8000 | at) : 0x8080);
            from_high[p] = (uint16_t)(at < border ? 0x8080 : (0x8000 | (at - border)));
        }
        low[c] = _mm_loadu_si128((const __m128i *)from_low);
        high[c] = _mm_loadu_si128((const __m128i *)from_high);
    }
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint8_t *pixel = row + (uint64_t)i * channels;
        const __m128i a = _mm_loadu_si128((const __m128i *)pixel);
        const __m128i b = _mm_loadu_si128((const __m128i *)(pixel + border));
        for (unsigned c = 0; c < 3; c++) {
            const __m128i levels = _mm_or_si128(_mm_shuffle_epi8(a, low[c]), _mm_shuffle_epi8(b, high[c]));
            _mm_storeu_si128((__m128i *)(planes + c * stride + i), levels);
        }
    }
    return i;
}

CSGATE_TARGET("ssse3")
static uint32_t compose_ssse3(const uint8_t *rgba, uint32_t n, const uint8_t fill[3], uint8_t *rgbx) {
    const __m128i zero = _mm_setzero_si128(), full = _mm_set1_epi16(255), half = _mm_set1_epi16(128);
    const __m128i ground = _mm_setr_epi16(fill[0], fill[1], fill[2], 255, fill[0], fill[1], fill[2], 255);
    const __m128i alphas = _mm_setr_epi8(6, 7, 6, 7, 6, 7, 6, 7, 14, 15, 14, 15, 14, 15, 14, 15);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const __m128i four = _mm_loadu_si128((const __m128i *)(rgba + 4 * (uint64_t)i));
        __m128i two[2] = {_mm_unpacklo_epi8(four, zero), _mm_unpackhi_epi8(four, zero)};
        for (int h = 0; h < 2; h++) {
            const __m128i alpha = _mm_shuffle_epi8(two[h], alphas);
            __m128i mixed = _mm_add_epi16(_mm_mullo_epi16(two[h], alpha),
                                          _mm_mullo_epi16(ground, _mm_sub_epi16(full, alpha)));
            mixed = _mm_add_epi16(mixed, half);
            two[h] = _mm_srli_epi16(_mm_add_epi16(mixed, _mm_srli_epi16(mixed, 8)), 8);
        }
        _mm_storeu_si128((__m128i *)(rgbx + 4 * (uint64_t)i), _mm_packus_epi16(two[0], two[1]));
    }
    return i;
}

/* Eight outputs at a time: register p holds output p in its low half and output p + 4 in its high half. */
CSGATE_TARGET("avx2")
CSGATE_INLINE uint32_t resample_avx2(const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                                     const int16_t *spread, uint32_t groups, int16_t *planes, uint64_t stride) {
    const __m256i early = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)PAIRS[channels - 3][0]));
    const __m256i late = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)PAIRS[channels - 3][1]));
    uint32_t i = 0;
    for (; i + BLOCK <= axis->outputs; i += BLOCK) {
        __m256i sum[4];
        for (uint32_t p = 0; p < 4; p++) {
            const uint8_t *one = row + (uint64_t)axis->first[i + p] * channels;
            const uint8_t *other = row + (uint64_t)axis->first[i + p + 4] * channels;
            __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi32(HALF);
            for (uint32_t g = 0; g < groups; g++, spread += 64) {
                const __m256i four = _mm256_inserti128_si256(
                    _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(one + 4 * g * channels))),
                    _mm_loadu_si128((const __m128i *)(other + 4 * g * channels)), 1);
                const __m256i first = _mm256_shuffle_epi8(four, early), second = _mm256_shuffle_epi8(four, late);
                const __m256i *k = (const __m256i *)spread;
                high = _mm256_add_epi32(high, _mm256_madd_epi16(first, _mm256_loadu_si256(k)));
                high = _mm256_add_epi32(high, _mm256_madd_epi16(second, _mm256_loadu_si256(k + 1)));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(first, _mm256_loadu_si256(k + 2)));
                low = _mm256_add_epi32(low, _mm256_madd_epi16(second, _mm256_loadu_si256(k + 3)));
            }
            sum[p] = _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, LOW), low), SHIFT);
        }
        const __m256i a = _mm256_packs_epi32(sum[0], sum[1]), b = _mm256_packs_epi32(sum[2], sum[3]);
        const __m256i even = _mm256_unpacklo_epi16(a, b), odd = _mm256_unpackhi_epi16(a, b);
        const __m256i rg = _mm256_permute4x64_epi64(_mm256_unpacklo_epi16(even, odd), 0xD8);
        const __m256i bx = _mm256_permute4x64_epi64(_mm256_unpackhi_epi16(even, odd), 0xD8);
        _mm_storeu_si128((__m128i *)(planes + i), _mm256_castsi256_si128(rg));
        _mm_storeu_si128((__m128i *)(planes + stride + i), _mm256_extracti128_si256(rg, 1));
        _mm_storeu_si128((__m128i *)(planes + 2 * stride + i), _mm256_castsi256_si128(bx));
    }
    return i;
}

/* Copies for what is common (three or four channels, few taps), where the compiler unrolls; and one for the rest. */
CSGATE_TARGET("avx2")
static uint32_t resample_avx2_any(const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                                  const int16_t *spread, int16_t *planes, uint64_t stride) {
    const uint32_t groups = axis->taps / 4;
    if (channels == 3) {
        return groups == 1 ? resample_avx2(row, 3, axis, spread, 1, planes, stride)
                           : resample_avx2(row, 3, axis, spread, groups, planes, stride);
    }
    return groups == 1 ? resample_avx2(row, 4, axis, spread, 1, planes, stride)
                       : resample_avx2(row, 4, axis, spread, groups, planes, stride);
}

/* The upper or the lower parts of two weights, for the multiply-and-add of pairs. */
static int32_t pair_of(int32_t first, int32_t second) { return (int32_t)((uint32_t)first | (uint32_t)second << 16); }

CSGATE_TARGET("avx2")
static void blend_avx2(const int16_t *const *rows, const int32_t *weight, uint32_t taps, int32_t *levels, uint64_t n) {
    if (taps == 1) {
        for (uint64_t i = 0; i < n; i += 8) {
            const __m256i wide = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(rows[0] + i)));
            _mm256_storeu_si256((__m256i *)(levels + i), wide);
        }
        return;
    }
    for (uint64_t i = 0; i < n; i += 16) {
        const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(HALF);
        __m256i high[2] = {zero, zero}, low[2] = {half, half};
        for (uint32_t t = 0; t < taps; t += 2) {
            /* The last of an odd number goes with itself and a weight of zero. */
            const uint32_t u = t + 1 < taps ? t + 1 : t;
            const int32_t other = t + 1 < taps ? weight[u] : 0;
            const __m256i upper = _mm256_set1_epi32(pair_of(weight[t] >> LOW, other >> LOW));
            const __m256i lower = _mm256_set1_epi32(pair_of(weight[t] & LOW_MASK, other & LOW_MASK));
            const __m256i a = _mm256_loadu_si256((const __m256i *)(rows[t] + i));
            const __m256i b = _mm256_loadu_si256((const __m256i *)(rows[u] + i));
            const __m256i even = _mm256_unpacklo_epi16(a, b), odd = _mm256_unpackhi_epi16(a, b);
            high[0] = _mm256_add_epi32(high[0], _mm256_madd_epi16(even, upper));
            high[1] = _mm256_add_epi32(high[1], _mm256_madd_epi16(odd, upper));
            low[0] = _mm256_add_epi32(low[0], _mm256_madd_epi16(even, lower));
            low[1] = _mm256_add_epi32(low[1], _mm256_madd_epi16(odd, lower));
        }
        for (int h = 0; h < 2; h++) {
            low[h] = _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(high[h], LOW), low[h]), SHIFT);
        }
        _mm256_storeu_si256((__m256i *)(levels + i), _mm256_permute2x128_si256(low[0], low[1], 0x20));
        _mm256_storeu_si256((__m256i *)(levels + i + 8), _mm256_permute2x128_si256(low[0], low[1], 0x31));
    }
}
#endif

/* --- arm64 --------------------------------------------------------------------------------------------------------------- */

#if defined(CSGATE_ARM64)
static uint32_t resample_neon(const uint8_t *row, uint32_t channels, const csgate_axis *axis, int16_t *planes,
                              uint64_t stride) {
    static const uint8_t WIDEN[2][16] = {{0, 1, 2, 255, 3, 4, 5, 255, 6, 7, 8, 255, 9, 10, 11, 255},
                                         {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
    const uint8x16_t widen = vld1q_u8(WIDEN[channels - 3]);
    uint32_t i = 0;
    for (; i + 4 <= axis->outputs; i += 4) {
        int16x4_t out[4];
        for (uint32_t p = 0; p < 4; p++) {
            const uint8_t *pixel = row + (uint64_t)axis->first[i + p] * channels;
            const int32_t *k = axis->weight + (uint64_t)(i + p) * axis->taps;
            int32x4_t sum = vdupq_n_s32(HALF);
            for (uint32_t t = 0; t < axis->taps; t += 4, pixel += 4 * channels) {
                const uint8x16_t four = vqtbl1q_u8(vld1q_u8(pixel), widen);
                const uint16x8_t low = vmovl_u8(vget_low_u8(four)), high = vmovl_u8(vget_high_u8(four));
                const int32x4_t ks = vld1q_s32(k + t);
                sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), ks, 0);
                sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))), ks, 1);
                sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), ks, 2);
                sum = vmlaq_laneq_s32(sum, vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high))), ks, 3);
            }
            out[p] = vmovn_s32(vshrq_n_s32(sum, SHIFT));
        }
        const int16x4x2_t a = vtrn_s16(out[0], out[1]), b = vtrn_s16(out[2], out[3]);
        vst1_s16(planes + i, vreinterpret_s16_s32(vzip1_s32(vreinterpret_s32_s16(a.val[0]),
                                                            vreinterpret_s32_s16(b.val[0]))));
        vst1_s16(planes + stride + i, vreinterpret_s16_s32(vzip1_s32(vreinterpret_s32_s16(a.val[1]),
                                                                     vreinterpret_s32_s16(b.val[1]))));
        vst1_s16(planes + 2 * stride + i, vreinterpret_s16_s32(vzip2_s32(vreinterpret_s32_s16(a.val[0]),
                                                                         vreinterpret_s32_s16(b.val[0]))));
    }
    return i;
}

static uint32_t split_neon(const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes, uint64_t stride) {
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint8x8_t level[3];
        if (channels == 3) {
            const uint8x8x3_t eight = vld3_u8(row + 3 * (uint64_t)i);
            level[0] = eight.val[0], level[1] = eight.val[1], level[2] = eight.val[2];
        } else {
            const uint8x8x4_t eight = vld4_u8(row + 4 * (uint64_t)i);
            level[0] = eight.val[0], level[1] = eight.val[1], level[2] = eight.val[2];
        }
        for (unsigned c = 0; c < 3; c++) {
            vst1q_s16(planes + c * stride + i, vreinterpretq_s16_u16(vmovl_u8(level[c])));
        }
    }
    return i;
}
#endif

/* --- One version of each for a level ---------------------------------------------------------------------------------- */

uint64_t csgate_spread_size(csgate_simd level, const csgate_axis *axis) {
#if defined(CSGATE_X86)
    if (level >= CSGATE_AVX2) {
        return (uint64_t)(axis->outputs / BLOCK * BLOCK) * axis->taps * 8;
    }
    if (level == CSGATE_SSSE3) {
        return (uint64_t)axis->outputs * axis->taps * 2;
    }
#else
    (void)level, (void)axis;
#endif
    return 0;
}

/* The upper or the lower parts of n weights. */
static void split_weights(const int32_t *weight, unsigned n, int upper, int16_t *parts) {
    for (unsigned t = 0; t < n; t++) {
        parts[t] = (int16_t)(upper ? weight[t] >> LOW : weight[t] & LOW_MASK);
    }
}

void csgate_axis_spread(csgate_simd level, const csgate_axis *axis, int16_t *spread) {
    if (csgate_spread_size(level, axis) == 0) {
        return;
    }
    if (level == CSGATE_SSSE3) {
        for (uint64_t t = 0; t < (uint64_t)axis->outputs * axis->taps; t += 4, spread += 8) {
            split_weights(axis->weight + t, 4, 1, spread);
            split_weights(axis->weight + t, 4, 0, spread + 4);
        }
        return;
    }
    for (uint32_t i = 0; i + BLOCK <= axis->outputs; i += BLOCK) {
        for (uint32_t p = 0; p < 4; p++) {
            const int32_t *one = axis->weight + (uint64_t)(i + p) * axis->taps;
            const int32_t *other = one + 4 * (uint64_t)axis->taps;
            for (uint32_t t = 0; t < axis->taps; t += 4) {
                for (int part = 0; part < 4; part++, spread += 16) { /* upper of taps 0-1, of 2-3, lower of 0-1, of 2-3 */
                    int16_t pairs[4];
                    split_weights(one + t + part % 2 * 2, 2, part < 2, pairs);
                    split_weights(other + t + part % 2 * 2, 2, part < 2, pairs + 2);
                    for (unsigned c = 0; c < 4; c++) {
                        memcpy(spread + 2 * c, pairs, 4);
                        memcpy(spread + 8 + 2 * c, pairs + 2, 4);
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
        case CSGATE_AVX2:
            done = resample_avx2_any(row, channels, axis, spread, planes, stride);
            break;
        case CSGATE_SSSE3:
            done = resample_ssse3(row, channels, axis, spread, planes, stride);
            break;
#elif defined(CSGATE_ARM64)
        case CSGATE_NEON:
            done = resample_neon(row, channels, axis, planes, stride);
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
        done = split_ssse3(row, channels, n, planes, stride);
    }
#elif defined(CSGATE_ARM64)
    if (level == CSGATE_NEON) {
        done = split_neon(row, channels, n, planes, stride);
    }
#else
    (void)level;
#endif
    split_from(done, row, channels, n, planes, stride);
}

void csgate_rows_blend(csgate_simd level, const int16_t *const *rows, const int32_t *weight, uint32_t taps,
                       int32_t *levels, uint64_t n) {
#if defined(CSGATE_X86)
    if (level >= CSGATE_AVX2) {
        blend_avx2(rows, weight, taps, levels, n);
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
        done = compose_ssse3(rgba, n, fill, rgbx);
    }
#else
    (void)level;
#endif
    compose_from(done, rgba, n, fill, rgbx);
}
