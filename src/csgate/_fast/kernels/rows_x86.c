#include "rows.h"

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
uint32_t csgate_resample_ssse3(const uint8_t *row, uint32_t channels, const csgate_axis *axis, const int16_t *spread,
                               int16_t *planes, uint64_t stride) {
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

/* Eight pixels are two loads, the second of which begins with a pixel: five and three of 3 bytes, or four and four of 4.
 * The masks take one colour's bytes to the low halves of 16-bit numbers; 0x80 gives zero. */
#define BORDER(channels) ((channels) == 3 ? 15 : 16)
#define BYTE(channels, c, p) ((p) * (channels) + (c))
#define FROM_LOW(n, c, p) (BYTE(n, c, p) < BORDER(n) ? 0x8000 | BYTE(n, c, p) : 0x8080)
#define FROM_HIGH(n, c, p) (BYTE(n, c, p) < BORDER(n) ? 0x8080 : 0x8000 | (BYTE(n, c, p) - BORDER(n)))
#define EIGHT(from, n, c) \
    {from(n, c, 0), from(n, c, 1), from(n, c, 2), from(n, c, 3), from(n, c, 4), from(n, c, 5), from(n, c, 6), from(n, c, 7)}
#define COLOUR(n, c) {EIGHT(FROM_LOW, n, c), EIGHT(FROM_HIGH, n, c)}
static const uint16_t SPLIT[2][3][2][8] = {
    {COLOUR(3, 0), COLOUR(3, 1), COLOUR(3, 2)},
    {COLOUR(4, 0), COLOUR(4, 1), COLOUR(4, 2)},
};

CSGATE_TARGET("ssse3")
uint32_t csgate_split_ssse3(const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes, uint64_t stride) {
    const int border = BORDER(channels);
    __m128i low[3], high[3];
    for (unsigned c = 0; c < 3; c++) {
        low[c] = _mm_loadu_si128((const __m128i *)SPLIT[channels - 3][c][0]);
        high[c] = _mm_loadu_si128((const __m128i *)SPLIT[channels - 3][c][1]);
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
uint32_t csgate_compose_ssse3(const uint8_t *rgba, uint32_t n, const uint8_t fill[3], uint8_t *rgbx) {
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
    for (; i + CSGATE_AVX2_BLOCK <= axis->outputs; i += CSGATE_AVX2_BLOCK) {
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
uint32_t csgate_resample_avx2(const uint8_t *row, uint32_t channels, const csgate_axis *axis, const int16_t *spread,
                              int16_t *planes, uint64_t stride) {
    const uint32_t groups = axis->taps / 4;
    if (channels == 3) {
        return groups == 1 ? resample_avx2(row, 3, axis, spread, 1, planes, stride)
                           : resample_avx2(row, 3, axis, spread, groups, planes, stride);
    }
    return groups == 1 ? resample_avx2(row, 4, axis, spread, 1, planes, stride)
                       : resample_avx2(row, 4, axis, spread, groups, planes, stride);
}

/* Spreads four pixels of a load to quads of bytes, r0 r1 r2 r3 g0 …, as the dot product of quads wants them. */
static const int8_t QUADS[2][16] = {
    {0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1},
    {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
};

/* The fifth pixel of a load, where pixels have 3 bytes. */
static const int8_t FIFTH[16] = {12, -1, -1, -1, 13, -1, -1, -1, 14, -1, -1, -1, -1, -1, -1, -1};

CSGATE_TARGET("avx512f,avx512bw,avx512vnni")
CSGATE_INLINE void add_products(__m512i pixels, const int16_t *spread, __m512i *high, __m512i *middle, __m512i *low) {
    *high = _mm512_dpbusd_epi32(*high, pixels, _mm512_loadu_si512(spread));
    *middle = _mm512_dpbusd_epi32(*middle, pixels, _mm512_loadu_si512(spread + 32));
    *low = _mm512_dpbusd_epi32(*low, pixels, _mm512_loadu_si512(spread + 64));
}

/* Sixteen outputs at a time: register p holds outputs p, p + 4, p + 8 and p + 12. VNNI multiplies unsigned by signed
 * bytes, four to a sum: a weight is three signed digits of eight bits here, and every four taps are three steps.
 * `groups` of four taps are looked at, and if `fifth`, one tap more, out of the load of the last group. */
CSGATE_TARGET("avx512f,avx512bw,avx512vnni")
CSGATE_INLINE uint32_t resample_avx512(const uint8_t *row, uint32_t channels, const csgate_axis *axis,
                                       const int16_t *spread, uint32_t groups, int fifth, int16_t *planes,
                                       uint64_t stride) {
    enum { GROUP = 96 }; /* 16-bit numbers in a register's weights of four taps */
    const __m512i quads = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)QUADS[channels - 3]));
    const __m512i last = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)FIFTH));
    const uint64_t step = axis->taps / 4 * GROUP;
    /* From lanes [red, green] of four outputs each to all of the red, then all of the green. */
    const __m512i apart = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    uint32_t i = 0;
    for (; i + CSGATE_AVX512_BLOCK <= axis->outputs; i += CSGATE_AVX512_BLOCK) {
        __m512i sum[4];
        for (uint32_t p = 0; p < 4; p++, spread += step) {
            const uint8_t *at[4];
            for (uint32_t l = 0; l < 4; l++) {
                at[l] = row + (uint64_t)axis->first[i + p + 4 * l] * channels;
            }
            __m512i high = _mm512_setzero_si512(), middle = high, low = _mm512_set1_epi32(HALF);
            for (uint32_t g = 0; g < groups; g++) {
                __m512i four = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(at[0] + 4 * g * channels)));
                four = _mm512_inserti32x4(four, _mm_loadu_si128((const __m128i *)(at[1] + 4 * g * channels)), 1);
                four = _mm512_inserti32x4(four, _mm_loadu_si128((const __m128i *)(at[2] + 4 * g * channels)), 2);
                four = _mm512_inserti32x4(four, _mm_loadu_si128((const __m128i *)(at[3] + 4 * g * channels)), 3);
                const int16_t *k = spread + g * GROUP;
                add_products(_mm512_shuffle_epi8(four, quads), k, &high, &middle, &low);
                if (fifth && g + 1 == groups) {
                    add_products(_mm512_shuffle_epi8(four, last), k + GROUP, &high, &middle, &low);
                }
            }
            high = _mm512_add_epi32(_mm512_slli_epi32(high, LOW), middle);
            sum[p] = _mm512_srai_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, LOW), low), SHIFT);
        }
        const __m512i a = _mm512_packs_epi32(sum[0], sum[1]), b = _mm512_packs_epi32(sum[2], sum[3]);
        const __m512i even = _mm512_unpacklo_epi16(a, b), odd = _mm512_unpackhi_epi16(a, b);
        const __m512i rg = _mm512_permutexvar_epi64(apart, _mm512_unpacklo_epi16(even, odd));
        const __m512i bx = _mm512_permutexvar_epi64(apart, _mm512_unpackhi_epi16(even, odd));
        _mm256_storeu_si256((__m256i *)(planes + i), _mm512_castsi512_si256(rg));
        _mm256_storeu_si256((__m256i *)(planes + stride + i), _mm512_extracti64x4_epi64(rg, 1));
        _mm256_storeu_si256((__m256i *)(planes + 2 * stride + i), _mm512_castsi512_si256(bx));
    }
    return i;
}

CSGATE_TARGET("avx512f,avx512bw,avx512vnni")
uint32_t csgate_resample_avx512(const uint8_t *row, uint32_t channels, const csgate_axis *axis, const int16_t *spread,
                                int16_t *planes, uint64_t stride) {
    const uint32_t groups = (axis->most + 3) / 4;
    if (channels == 3 && axis->most == 5) {
        return resample_avx512(row, 3, axis, spread, 1, 1, planes, stride);
    }
    if (channels == 3) {
        return groups == 1 ? resample_avx512(row, 3, axis, spread, 1, 0, planes, stride)
                           : resample_avx512(row, 3, axis, spread, groups, 0, planes, stride);
    }
    return groups == 1 ? resample_avx512(row, 4, axis, spread, 1, 0, planes, stride)
                       : resample_avx512(row, 4, axis, spread, groups, 0, planes, stride);
}

/* The upper or the lower parts of two weights, for the multiply-and-add of pairs. */
static int32_t pair_of(int32_t first, int32_t second) { return (int32_t)((uint32_t)first | (uint32_t)second << 16); }

CSGATE_TARGET("avx2")
void csgate_blend_avx2(const int16_t *const *rows, const int32_t *weight, uint32_t taps, int32_t *levels, uint64_t n) {
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

/* n is a multiple of 16 only: the last step may have half its values. */
CSGATE_TARGET("avx512f,avx512bw,avx512vnni")
void csgate_blend_avx512(const int16_t *const *rows, const int32_t *weight, uint32_t taps, int32_t *levels, uint64_t n) {
    if (taps == 1) {
        for (uint64_t i = 0; i < n; i += 16) {
            const __m512i wide = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(rows[0] + i)));
            _mm512_storeu_si512(levels + i, wide);
        }
        return;
    }
    /* Unpacking pairs 0-3, 8-11, … with 4-7, 12-15, …: these put the sums in order again. */
    const __m512i front = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), back = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    for (uint64_t i = 0; i < n; i += 32) {
        const __mmask32 rest = n - i < 32 ? 0xFFFF : 0xFFFFFFFF;
        __m512i high[2], low[2];
        high[0] = high[1] = _mm512_setzero_si512();
        low[0] = low[1] = _mm512_set1_epi32(HALF);
        for (uint32_t t = 0; t < taps; t += 2) {
            const uint32_t u = t + 1 < taps ? t + 1 : t;
            const int32_t other = t + 1 < taps ? weight[u] : 0;
            const __m512i upper = _mm512_set1_epi32(pair_of(weight[t] >> LOW, other >> LOW));
            const __m512i lower = _mm512_set1_epi32(pair_of(weight[t] & LOW_MASK, other & LOW_MASK));
            const __m512i a = _mm512_maskz_loadu_epi16(rest, rows[t] + i), b = _mm512_maskz_loadu_epi16(rest, rows[u] + i);
            const __m512i even = _mm512_unpacklo_epi16(a, b), odd = _mm512_unpackhi_epi16(a, b);
            high[0] = _mm512_dpwssd_epi32(high[0], even, upper);
            high[1] = _mm512_dpwssd_epi32(high[1], odd, upper);
            low[0] = _mm512_dpwssd_epi32(low[0], even, lower);
            low[1] = _mm512_dpwssd_epi32(low[1], odd, lower);
        }
        for (int h = 0; h < 2; h++) {
            low[h] = _mm512_srai_epi32(_mm512_add_epi32(_mm512_slli_epi32(high[h], LOW), low[h]), SHIFT);
        }
        _mm512_storeu_si512(levels + i, _mm512_permutex2var_epi64(low[0], front, low[1]));
        if (n - i >= 32) {
            _mm512_storeu_si512(levels + i + 16, _mm512_permutex2var_epi64(low[0], back, low[1]));
        }
    }
}
#else
typedef int csgate_no_x86; /* a translation unit is never empty */
#endif
