#include "base64.h"

#include <string.h>

/* Value of each character, 0xFF for those outside the alphabet: [0] standard, [1] url-safe. */
#define REST(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
#define X 0xFF
#define LETTERS(c5f)                                                                                                  \
    X, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X, X, X, X, c5f, \
        X, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, X,  \
        X, X, X, X
#define DIGITS 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X, X, X, X, X, X
#define UPPER_HALF REST(X), REST(X), REST(X), REST(X), REST(X), REST(X), REST(X), REST(X)
static const uint8_t VALUES[2][256] = {
    {REST(X), REST(X), X, X, X, X, X, X, X, X, X, X, X, 62, X, X, X, 63, DIGITS, LETTERS(X), UPPER_HALF},
    {REST(X), REST(X), X, X, X, X, X, X, X, X, X, X, X, X, X, 62, X, X, DIGITS, LETTERS(63), UPPER_HALF},
};
#undef X

uint64_t csgate_base64_size(const uint8_t *src, uint64_t n) {
    uint64_t size = n / 4 * 3;
    if (n >= 4 && n % 4 == 0) {
        size -= src[n - 1] == '=';
        size -= src[n - 1] == '=' && src[n - 2] == '=';
    }
    return size;
}

/* The vector versions follow Mula and Lemire, "Faster Base64 encoding and decoding using AVX2 instructions" (ACM
 * Transactions on the Web, 2018): two 16-entry tables, indexed by the nibbles of a character, share a bit exactly when the
 * character is outside the alphabet, and a third says what to add to turn a character into its value. One character
 * of each alphabet shares its high nibble with others of another offset: '/' moves one entry down, which is free in
 * the standard alphabet, '_' gets 33 on top. */
#if defined(CSGATE_X86)
typedef struct {
    uint8_t low[16], high[16], roll[16];
} nibble_tables;

static const nibble_tables NIBBLES[2] = {
    {{0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1A, 0x1B, 0x1B, 0x1B, 0x1A},
     {0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10},
     {0, 16, 19, 4, (uint8_t)-65, (uint8_t)-65, (uint8_t)-71, (uint8_t)-71, 0, 0, 0, 0, 0, 0, 0, 0}},
    {{0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x3B, 0x3B, 0x3A, 0x3B, 0x33},
     {0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x20, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10},
     {0, 0, 17, 4, (uint8_t)-65, (uint8_t)-65, (uint8_t)-71, (uint8_t)-71, 0, 0, 0, 0, 0, 0, 0, 0}},
};

/* Both return how many characters they have decoded: whole blocks, up to the first with a character outside the
 * alphabet (padding included), and only while a full register's store stays within the capacity. */
CSGATE_TARGET("ssse3")
static uint64_t decode_ssse3(const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity, int urlsafe) {
    const nibble_tables *t = &NIBBLES[urlsafe];
    const __m128i low_table = _mm_loadu_si128((const __m128i *)t->low);
    const __m128i high_table = _mm_loadu_si128((const __m128i *)t->high);
    const __m128i roll_table = _mm_loadu_si128((const __m128i *)t->roll);
    const __m128i special = _mm_set1_epi8(urlsafe ? '_' : '/');
    const __m128i nibble = _mm_set1_epi8(0x0F), zero = _mm_setzero_si128();
    const __m128i squeeze = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    uint64_t in = 0, out = 0;
    while (n - in >= 16 && capacity - out >= 16) {
        const __m128i text = _mm_loadu_si128((const __m128i *)(src + in));
        const __m128i high = _mm_and_si128(_mm_srli_epi32(text, 4), nibble);
        const __m128i wrong = _mm_and_si128(_mm_shuffle_epi8(low_table, _mm_and_si128(text, nibble)),
                                            _mm_shuffle_epi8(high_table, high));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(wrong, zero)) != 0xFFFF) {
            break;
        }
        const __m128i hit = _mm_cmpeq_epi8(text, special); /* -1 where it is the special one */
        const __m128i roll = urlsafe ? _mm_add_epi8(_mm_shuffle_epi8(roll_table, high),
                                                    _mm_and_si128(hit, _mm_set1_epi8(33)))
                                     : _mm_shuffle_epi8(roll_table, _mm_add_epi8(high, hit));
        const __m128i value = _mm_add_epi8(text, roll);
        const __m128i pairs = _mm_maddubs_epi16(value, _mm_set1_epi32(0x01400140));
        const __m128i quads = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00011000));
        _mm_storeu_si128((__m128i *)(dst + out), _mm_shuffle_epi8(quads, squeeze));
        in += 16;
        out += 12;
    }
    return in;
}

typedef struct {
    __m256i low, high, roll, special, nibble;
} avx2_tables;

CSGATE_TARGET("avx2")
CSGATE_INLINE __m256i values_avx2(__m256i text, const avx2_tables *t, int urlsafe, __m256i *wrong) {
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), t->nibble);
    *wrong = _mm256_and_si256(_mm256_shuffle_epi8(t->low, _mm256_and_si256(text, t->nibble)),
                              _mm256_shuffle_epi8(t->high, high));
    const __m256i hit = _mm256_cmpeq_epi8(text, t->special);
    const __m256i roll = urlsafe ? _mm256_add_epi8(_mm256_shuffle_epi8(t->roll, high),
                                                   _mm256_and_si256(hit, _mm256_set1_epi8(33)))
                                 : _mm256_shuffle_epi8(t->roll, _mm256_add_epi8(high, hit));
    return _mm256_add_epi8(text, roll);
}

CSGATE_TARGET("avx2") CSGATE_INLINE void store_avx2(uint8_t *dst, __m256i value) {
    const __m256i pairs = _mm256_maddubs_epi16(value, _mm256_set1_epi32(0x01400140));
    const __m256i quads = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
    const __m256i squeezed = _mm256_shuffle_epi8(
        quads, _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1, 2, 1, 0, 6, 5, 4, 10, 9, 8, 14,
                                13, 12, -1, -1, -1, -1));
    const __m256i joined = _mm256_permutevar8x32_epi32(squeezed, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
    _mm256_storeu_si256((__m256i *)dst, joined);
}

CSGATE_TARGET("avx2")
CSGATE_INLINE uint64_t blocks_avx2(const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity, int urlsafe) {
    const nibble_tables *n_t = &NIBBLES[urlsafe];
    avx2_tables t;
    t.low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)n_t->low));
    t.high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)n_t->high));
    t.roll = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)n_t->roll));
    t.special = _mm256_set1_epi8(urlsafe ? '_' : '/');
    t.nibble = _mm256_set1_epi8(0x0F);
    uint64_t in = 0, out = 0;
    /* Four registers a step: one branch for 128 characters. */
    while (n - in >= 128 && capacity - out >= 104) {
        __m256i value[4], wrong[4];
        for (int i = 0; i < 4; i++) {
            value[i] = values_avx2(_mm256_loadu_si256((const __m256i *)(src + in + 32 * i)), &t, urlsafe, &wrong[i]);
        }
        const __m256i any = _mm256_or_si256(_mm256_or_si256(wrong[0], wrong[1]), _mm256_or_si256(wrong[2], wrong[3]));
        if (!_mm256_testz_si256(any, any)) {
            break;
        }
        for (int i = 0; i < 4; i++) {
            store_avx2(dst + out + 24 * i, value[i]);
        }
        in += 128;
        out += 96;
    }
    while (n - in >= 32 && capacity - out >= 32) {
        __m256i wrong;
        const __m256i value = values_avx2(_mm256_loadu_si256((const __m256i *)(src + in)), &t, urlsafe, &wrong);
        if (!_mm256_testz_si256(wrong, wrong)) {
            break;
        }
        store_avx2(dst + out, value);
        in += 32;
        out += 24;
    }
    return in;
}

/* Two copies, so that the choice of the alphabet stays outside the loops. */
CSGATE_TARGET("avx2")
static uint64_t decode_avx2(const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity, int urlsafe) {
    return urlsafe ? blocks_avx2(src, n, dst, capacity, 1) : blocks_avx2(src, n, dst, capacity, 0);
}

/* Two 64-entry tables hold the whole alphabet: one permutation looks 64 characters up. */
CSGATE_TARGET("avx512f,avx512bw,avx512vbmi") CSGATE_INLINE void store_avx512(uint8_t *dst, __m512i value) {
    static const uint8_t SQUEEZE[64] = {2,  1,  0,  6,  5,  4,  10, 9,  8,  14, 13, 12, 18, 17, 16, 22,
                                        21, 20, 26, 25, 24, 30, 29, 28, 34, 33, 32, 38, 37, 36, 42, 41,
                                        40, 46, 45, 44, 50, 49, 48, 54, 53, 52, 58, 57, 56, 62, 61, 60};
    const __m512i pairs = _mm512_maddubs_epi16(value, _mm512_set1_epi32(0x01400140));
    const __m512i quads = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x00011000));
    _mm512_storeu_si512(dst, _mm512_permutexvar_epi8(_mm512_loadu_si512(SQUEEZE), quads));
}

CSGATE_TARGET("avx512f,avx512bw,avx512vbmi")
static uint64_t decode_avx512(const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity, const uint8_t *values) {
    const __m512i first = _mm512_loadu_si512(values), second = _mm512_loadu_si512(values + 64);
    uint64_t in = 0, out = 0;
    while (n - in >= 256 && capacity - out >= 208) {
        __m512i value[4], wrong = _mm512_setzero_si512();
        for (int i = 0; i < 4; i++) {
            const __m512i text = _mm512_loadu_si512(src + in + 64 * i);
            value[i] = _mm512_permutex2var_epi8(first, text, second);
            wrong = _mm512_ternarylogic_epi64(wrong, value[i], text, 0xFE); /* the look-up ignores the top bit */
        }
        if (_mm512_movepi8_mask(wrong)) {
            break;
        }
        for (int i = 0; i < 4; i++) {
            store_avx512(dst + out + 48 * i, value[i]);
        }
        in += 256;
        out += 192;
    }
    while (n - in >= 64 && capacity - out >= 64) {
        const __m512i text = _mm512_loadu_si512(src + in);
        const __m512i value = _mm512_permutex2var_epi8(first, text, second);
        if (_mm512_movepi8_mask(_mm512_or_si512(value, text))) {
            break;
        }
        store_avx512(dst + out, value);
        in += 64;
        out += 48;
    }
    return in;
}
#endif

#if defined(CSGATE_ARM64)
static uint64_t decode_neon(const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity, const uint8_t *values) {
    const uint8x16x4_t first = vld1q_u8_x4(values), second = vld1q_u8_x4(values + 64);
    const uint8x16_t flip = vdupq_n_u8(0x40);
    uint64_t in = 0, out = 0;
    while (n - in >= 64 && capacity - out >= 48) {
        const uint8x16x4_t text = vld4q_u8(src + in);
        uint8x16_t value[4];
        uint8x16_t wrong = vdupq_n_u8(0);
        for (int i = 0; i < 4; i++) {
            /* A look-up outside its 64 entries gives 0; bytes above 127 show by their own top bit. */
            value[i] = vorrq_u8(vqtbl4q_u8(first, text.val[i]), vqtbl4q_u8(second, veorq_u8(text.val[i], flip)));
            wrong = vorrq_u8(wrong, vorrq_u8(value[i], text.val[i]));
        }
        if (vmaxvq_u8(wrong) & 0x80) {
            break;
        }
        uint8x16x3_t bytes;
        bytes.val[0] = vorrq_u8(vshlq_n_u8(value[0], 2), vshrq_n_u8(value[1], 4));
        bytes.val[1] = vorrq_u8(vshlq_n_u8(value[1], 4), vshrq_n_u8(value[2], 2));
        bytes.val[2] = vorrq_u8(vshlq_n_u8(value[2], 6), value[3]);
        vst3q_u8(dst + out, bytes);
        in += 64;
        out += 48;
    }
    return in;
}
#endif

static uint64_t decode_blocks(csgate_simd level, const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity,
                              int urlsafe) {
    switch (level) {
#if defined(CSGATE_X86)
        case CSGATE_AVX512:
            return decode_avx512(src, n, dst, capacity, VALUES[urlsafe]);
        case CSGATE_AVX2:
            return decode_avx2(src, n, dst, capacity, urlsafe);
        case CSGATE_SSSE3:
            return decode_ssse3(src, n, dst, capacity, urlsafe);
#elif defined(CSGATE_ARM64)
        case CSGATE_NEON:
            return decode_neon(src, n, dst, capacity, VALUES[urlsafe]);
#endif
        default:
            return 0;
    }
}

/* The last group: 1 to 4 characters that are not 4 of the alphabet. Returns as csgate_base64_decode does. */
static uint64_t decode_end(const uint8_t *src, uint64_t in, uint64_t n, uint8_t *dst, const uint8_t *values) {
    uint8_t value[4] = {0, 0, 0, 0};
    unsigned have = 0;
    while (have < 4 && in + have < n && values[src[in + have]] != 0xFF) {
        value[have] = values[src[in + have]];
        have++;
    }
    uint64_t at = in + have;
    if (at == n) {
        return n + 1;
    }
    if (src[at] != '=' || have < 2) {
        return at;
    }
    /* Bits that do not reach a whole byte must be zero, or two texts would stand for the same bytes. */
    if (have == 2 ? (value[1] & 0x0F) : (value[2] & 0x03)) {
        return at;
    }
    at++;
    if (have == 2) {
        if (at == n) {
            return n + 1;
        }
        if (src[at] != '=') {
            return at;
        }
        at++;
    }
    if (at != n) {
        return at;
    }
    dst[0] = (uint8_t)(value[0] << 2 | value[1] >> 4);
    if (have == 3) {
        dst[1] = (uint8_t)(value[1] << 4 | value[2] >> 2);
    }
    return n;
}

uint64_t csgate_base64_decode(csgate_simd level, const uint8_t *src, uint64_t n, uint8_t *dst, uint64_t capacity,
                              int urlsafe) {
    urlsafe = urlsafe != 0;
    const uint8_t *values = VALUES[urlsafe];
    uint64_t in = decode_blocks(level, src, n, dst, capacity, urlsafe);
    uint64_t out = in / 4 * 3;
    while (n - in >= 4) {
        const uint8_t a = values[src[in]], b = values[src[in + 1]], c = values[src[in + 2]], d = values[src[in + 3]];
        if ((a | b | c | d) & 0x80) {
            break;
        }
        dst[out] = (uint8_t)(a << 2 | b >> 4);
        dst[out + 1] = (uint8_t)(b << 4 | c >> 2);
        dst[out + 2] = (uint8_t)(c << 6 | d);
        in += 4;
        out += 3;
    }
    return in == n ? n : decode_end(src, in, n, dst + out, values);
}
