#include "emit.h"

#include <string.h>

/* Round to nearest even; without branches, so that compilers make vectors of it. Overflow becomes infinity. */
CSGATE_INLINE uint16_t half_bits(float value) {
    uint32_t bits, small_bits;
    memcpy(&bits, &value, 4);
    const uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7FFFFFFF;
    /* Below 2^-14 adding 0.5 leaves exactly the ten bits of a subnormal, rounded, at the end of the sum. */
    float magnitude;
    memcpy(&magnitude, &bits, 4);
    const float small = magnitude + 0.5f;
    memcpy(&small_bits, &small, 4);
    const uint32_t normal = (bits + UINT32_C(0xC8000FFF) + (bits >> 13 & 1)) >> 13;
    const uint32_t finite = bits < UINT32_C(0x38800000) ? small_bits - UINT32_C(0x3F000000) : normal;
    const uint32_t special = bits > UINT32_C(0x7F800000) ? 0x7E00 : 0x7C00;
    return (uint16_t)(sign | (bits < UINT32_C(0x47800000) ? finite : special));
}

/* One colour of a row, `step` apart: 1 in planes, 3 when interleaved. */
CSGATE_INLINE void emit_colour(csgate_dtype dtype, void *restrict out, uint64_t step, uint32_t n,
                               const int32_t *restrict level, float mul, float add) {
    if (dtype == CSGATE_FLOAT32) {
        float *to = out;
        for (uint32_t i = 0; i < n; i++) {
            to[i * step] = (float)level[i] * mul + add;
        }
    } else if (dtype == CSGATE_FLOAT16) {
        uint16_t *to = out;
        for (uint32_t i = 0; i < n; i++) {
            to[i * step] = half_bits((float)level[i] * mul + add);
        }
    } else {
        uint8_t *to = out;
        for (uint32_t i = 0; i < n; i++) {
            to[i * step] = (uint8_t)level[i];
        }
    }
}

static uint64_t item_size(csgate_dtype dtype) {
    return dtype == CSGATE_FLOAT32 ? 4 : dtype == CSGATE_FLOAT16 ? 2 : 1;
}

CSGATE_INLINE void emit_body(const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n, const int32_t *levels,
                             uint64_t stride) {
    const uint64_t size = item_size(tensor->dtype);
    const uint64_t pixel = (uint64_t)y * tensor->width + x;
    for (unsigned c = 0; c < 3; c++) {
        const float mul = (float)tensor->mul[c], add = (float)tensor->add[c];
        const int32_t *level = levels + c * stride;
        uint8_t *base = tensor->data;
        if (tensor->layout == CSGATE_NCHW) {
            base += (c * (uint64_t)tensor->height * tensor->width + pixel) * size;
            emit_colour(tensor->dtype, base, 1, n, level, mul, add);
        } else {
            base += (3 * pixel + c) * size;
            emit_colour(tensor->dtype, base, 3, n, level, mul, add);
        }
    }
}

static void emit_baseline(const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n, const int32_t *levels,
                          uint64_t stride) {
    emit_body(tensor, y, x, n, levels, stride);
}

#if defined(CSGATE_X86)
CSGATE_TARGET("avx2")
static void emit_avx2(const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n, const int32_t *levels,
                      uint64_t stride) {
    emit_body(tensor, y, x, n, levels, stride);
}
#endif

void csgate_emit_row(csgate_simd level, const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n,
                     const int32_t *levels, uint64_t stride) {
#if defined(CSGATE_X86)
    if (level >= CSGATE_AVX2) {
        emit_avx2(tensor, y, x, n, levels, stride);
        return;
    }
#else
    (void)level;
#endif
    emit_baseline(tensor, y, x, n, levels, stride);
}

#if defined(CSGATE_X86)
/* Eight pixels a step: each half of a register loads four, one shuffle a colour widens them to 32 bits. */
CSGATE_TARGET("avx2")
static void emit_pixels_avx2(const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n, const uint8_t *row,
                             uint32_t channels) {
    const uint64_t plane = (uint64_t)tensor->height * tensor->width;
    float *out = (float *)tensor->data + (uint64_t)y * tensor->width + x;
    __m256i colour[3];
    __m256 mul[3], add[3];
    for (unsigned c = 0; c < 3; c++) {
        const int p = (int)channels;
        const __m128i at = _mm_setr_epi32((int)c, p + (int)c, 2 * p + (int)c, 3 * p + (int)c);
        /* The other three bytes of each 32-bit number become zero. */
        colour[c] = _mm256_broadcastsi128_si256(_mm_or_si128(at, _mm_set1_epi32((int)0x80808000)));
        mul[c] = _mm256_set1_ps((float)tensor->mul[c]);
        add[c] = _mm256_set1_ps((float)tensor->add[c]);
    }
    uint32_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint8_t *pixel = row + (uint64_t)i * channels;
        const __m256i eight =
            _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)pixel)),
                                    _mm_loadu_si128((const __m128i *)(pixel + 4 * channels)), 1);
        for (unsigned c = 0; c < 3; c++) {
            const __m256 level = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(eight, colour[c]));
            _mm256_storeu_ps(out + c * plane + i, _mm256_add_ps(_mm256_mul_ps(level, mul[c]), add[c]));
        }
    }
    for (; i < n; i++) {
        for (unsigned c = 0; c < 3; c++) {
            const float level = row[(uint64_t)i * channels + c];
            out[c * plane + i] = level * (float)tensor->mul[c] + (float)tensor->add[c];
        }
    }
}
#endif

int csgate_emits_pixels(csgate_simd level, const csgate_tensor *tensor) {
#if defined(CSGATE_X86)
    return level >= CSGATE_AVX2 && tensor->dtype == CSGATE_FLOAT32 && tensor->layout == CSGATE_NCHW;
#else
    (void)level, (void)tensor;
    return 0;
#endif
}

void csgate_emit_pixels(csgate_simd level, const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n,
                        const uint8_t *row, uint32_t channels) {
    (void)level;
#if defined(CSGATE_X86)
    emit_pixels_avx2(tensor, y, x, n, row, channels);
#else
    (void)tensor, (void)y, (void)x, (void)n, (void)row, (void)channels;
#endif
}

void csgate_emit_fill(const csgate_tensor *tensor, uint32_t y, uint32_t x, uint32_t n, const uint8_t fill[3]) {
    if (n == 0) { /* twice a row where nothing is letter-boxed */
        return;
    }
    int32_t levels[3 * 64];
    for (unsigned i = 0; i < 64; i++) {
        for (unsigned c = 0; c < 3; c++) {
            levels[c * 64 + i] = fill[c];
        }
    }
    for (uint32_t done = 0; done < n; done += 64) {
        emit_baseline(tensor, y, x + done, n - done < 64 ? n - done : 64, levels, 64);
    }
}
