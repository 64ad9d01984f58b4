#include "quote.h"

static uint64_t find_from(uint64_t i, const uint8_t *data, uint64_t n) {
    while (i < n && data[i] != '"' && data[i] != '\\') {
        i++;
    }
    return i;
}

/* The versions look at whole blocks and return where they stopped: at the block that has one, or behind the last. */

#if defined(CSGATE_X86)
CSGATE_TARGET("sse2") static uint64_t find_sse2(const uint8_t *data, uint64_t n) {
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    uint64_t i = 0;
    for (; n - i >= 16; i += 16) {
        const __m128i block = _mm_loadu_si128((const __m128i *)(data + i));
        const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash));
        if (_mm_movemask_epi8(found)) {
            break;
        }
    }
    return i;
}

CSGATE_TARGET("avx2") static __m256i either_avx2(const uint8_t *data) {
    const __m256i block = _mm256_loadu_si256((const __m256i *)data);
    return _mm256_or_si256(_mm256_cmpeq_epi8(block, _mm256_set1_epi8('"')),
                           _mm256_cmpeq_epi8(block, _mm256_set1_epi8('\\')));
}

CSGATE_TARGET("avx2") static uint64_t find_avx2(const uint8_t *data, uint64_t n) {
    uint64_t i = 0;
    for (; n - i >= 128; i += 128) {
        const __m256i first = _mm256_or_si256(either_avx2(data + i), either_avx2(data + i + 32));
        const __m256i second = _mm256_or_si256(either_avx2(data + i + 64), either_avx2(data + i + 96));
        if (_mm256_movemask_epi8(_mm256_or_si256(first, second))) {
            break;
        }
    }
    return i;
}
#elif defined(CSGATE_ARM64)
static uint64_t find_neon(const uint8_t *data, uint64_t n) {
    const uint8x16_t quote = vdupq_n_u8('"'), backslash = vdupq_n_u8('\\');
    uint64_t i = 0;
    for (; n - i >= 16; i += 16) {
        const uint8x16_t block = vld1q_u8(data + i);
        if (vmaxvq_u8(vorrq_u8(vceqq_u8(block, quote), vceqq_u8(block, backslash)))) {
            break;
        }
    }
    return i;
}
#endif

uint64_t csgate_find_quote(csgate_simd level, const uint8_t *data, uint64_t n) {
    uint64_t i = 0;
#if defined(CSGATE_X86)
    if (level >= CSGATE_AVX2) {
        i = find_avx2(data, n);
    } else if (level == CSGATE_SSSE3) {
        i = find_sse2(data, n);
    }
#elif defined(CSGATE_ARM64)
    if (level == CSGATE_NEON) {
        i = find_neon(data, n);
    }
#else
    (void)level;
#endif
    return find_from(i, data, n);
}

int csgate_long_string(csgate_simd level, const uint8_t *data, uint64_t n, uint64_t least, uint64_t *begin,
                       uint64_t *end) {
    uint64_t i = 0;
    for (;;) {
        i = find_from(i, data, n); /* what is between strings is short */
        if (i == n || data[i] == '\\') {
            return 0;
        }
        const uint64_t first = ++i;
        int escapes = 0;
        for (;;) {
            i += csgate_find_quote(level, data + i, n - i);
            if (i == n || data[i] == '"') {
                break;
            }
            escapes = 1;
            i += 2;
            if (i > n) {
                return 0;
            }
        }
        if (i == n) {
            return 0;
        }
        if (i - first >= least) {
            *begin = first;
            *end = i;
            return !escapes;
        }
        i++;
    }
}
