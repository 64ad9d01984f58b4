/* Runs every kernel at every SIMD level over all small sizes, odd addresses and seeded random shapes, in buffers of
 * exactly the announced size, so that the sanitizers see a byte read or written outside. Results are compared with the
 * scalar level, or with what was encoded. Built and run by asan.py; prints one line and returns 0 when all is well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "frame.h"
#include "prepare.h"
#include "quote.h"
#include "simd.h"
#include "unmask.h"
#include "utf8.h"

enum { SIZES = 301 };

static const csgate_simd LEVELS[] = {CSGATE_SCALAR, CSGATE_SSSE3, CSGATE_AVX2, CSGATE_AVX512, CSGATE_NEON};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof LEVELS[0] };

static uint64_t checks = 0;

#define CHECK(right, ...)                                       \
    do {                                                        \
        checks++;                                               \
        if (!(right)) {                                         \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #right); \
            fprintf(stderr, __VA_ARGS__);                       \
            fprintf(stderr, "\n");                              \
            exit(1);                                            \
        }                                                       \
    } while (0)

static uint64_t seed = 20240229;

static uint32_t draw(uint32_t below) { /* xorshift*: the same numbers on every machine */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * UINT64_C(2685821657736338717)) >> 32) % below;
}

static uint8_t *block(uint64_t size) {
    uint8_t *made = malloc(size ? size : 1);
    if (made == NULL) {
        abort();
    }
    return made;
}

static uint8_t *noise(uint64_t size) {
    uint8_t *made = block(size);
    for (uint64_t i = 0; i < size; i++) {
        made[i] = (uint8_t)draw(256);
    }
    return made;
}

static void check_unmask(csgate_simd level) {
    for (unsigned n = 0; n < SIZES; n++) {
        for (unsigned offset = 0; offset < 5; offset++) {
            uint8_t key[4];
            memcpy(key, &(uint32_t){draw(UINT32_MAX)}, 4);
            const unsigned phase = draw(4), cut = draw(n + 1);
            uint8_t *whole = noise(n + offset), *parts = block(n + offset), *before = block(n + offset);
            memcpy(parts, whole, n + offset);
            memcpy(before, whole, n + offset);
            const unsigned after = csgate_unmask(level, whole + offset, n, key, phase);
            CHECK(after == (phase + n) % 4, "n %u", n);
            for (unsigned i = 0; i < n + offset; i++) {
                const uint8_t expected = i < offset ? before[i] : before[i] ^ key[(phase + i - offset) % 4];
                CHECK(whole[i] == expected, "level %d n %u at %u", (int)level, n, i);
            }
            const unsigned middle = csgate_unmask(level, parts + offset, cut, key, phase);
            csgate_unmask(level, parts + offset + cut, n - cut, key, middle);
            CHECK(memcmp(whole, parts, n + offset) == 0, "n %u cut %u", n, cut);
            free(whole), free(parts), free(before);
        }
    }
}

static void check_quote(csgate_simd level) {
    for (uint64_t n = 0; n < SIZES; n++) {
        uint8_t *data = noise(n);
        for (uint64_t i = 0; i < n; i++) {
            data[i] = data[i] == '"' || data[i] == '\\' ? 'A' : data[i];
        }
        CHECK(csgate_find_quote(level, data, n) == n, "level %d: %llu bytes", (int)level, (unsigned long long)n);
        if (n > 0) {
            const uint64_t at = draw((unsigned)n);
            data[n - 1] = '"';
            data[at] = draw(2) ? '"' : '\\';
            CHECK(csgate_find_quote(level, data, n) == at, "level %d: at %llu", (int)level, (unsigned long long)at);
        }
        for (uint64_t i = 0; i < n; i++) {
            data[i] = "\"\\AAAAAA"[draw(8)];
        }
        uint64_t begin = 0, end = 0;
        const uint64_t least = draw(12);
        if (csgate_long_string(level, data, n, least, &begin, &end)) {
            CHECK(begin > 0 && end < n && end - begin >= least && data[begin - 1] == '"' && data[end] == '"' &&
                      csgate_find_quote(level, data + begin, end - begin) == end - begin,
                  "level %d: a long string of %llu", (int)level, (unsigned long long)n);
        }
        free(data);
    }
}

static void check_utf8(void) {
    static const char *const PIECES[] = {"a", "order 12345 ", "\xC3\xA9", "\xE8\xAE\xA2\xE5\x8D\x95", "\xF0\x9F\x98\x80",
                                         "\xED\x9F\xBF", "\xEE\x80\x80", "\xF4\x8F\xBF\xBF", "\xE0\xA0\x80"};
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t text[400];
        unsigned n = 0;
        for (unsigned pieces = draw(40); pieces > 0; pieces--) {
            const char *piece = PIECES[draw(sizeof PIECES / sizeof PIECES[0])];
            if (n + strlen(piece) <= sizeof text) {
                memcpy(text + n, piece, strlen(piece));
                n += (unsigned)strlen(piece);
            }
        }
        if (n > 0 && round % 2) {
            text[draw(n)] = (uint8_t)draw(256);
        }
        uint8_t *exact = block(n);
        memcpy(exact, text, n);
        csgate_utf8 state = {0, 0, 0};
        const uint64_t stop = csgate_utf8_feed(&state, exact, n);
        CHECK(stop <= n && (round % 2 || (stop == n && state.left == 0)), "round %u", round);
        const unsigned cut = draw(n + 1);
        csgate_utf8 halves = {0, 0, 0};
        uint64_t at = csgate_utf8_feed(&halves, exact, cut);
        if (at == cut) {
            at += csgate_utf8_feed(&halves, exact + cut, n - cut);
        }
        CHECK(at == stop, "round %u cut %u: %u, not %u", round, cut, (unsigned)at, (unsigned)stop);
        for (unsigned i = 0; i < n; i++) { /* byte by byte */
            csgate_utf8 *each = i == 0 ? memset(&halves, 0, sizeof halves) : &halves;
            if (csgate_utf8_feed(each, exact + i, 1) != 1) {
                CHECK(i == stop, "round %u", round);
                break;
            }
        }
        free(exact);
    }
}

static const char ALPHABETS[2][65] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                                      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};

static uint64_t encode(const uint8_t *data, uint64_t n, uint8_t *text, int urlsafe) {
    uint64_t out = 0;
    for (uint64_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= i + 2 < n ? data[i + 2] : 0;
        for (int c = 0; c < 4; c++) {
            text[out++] = (uint8_t)(i + (uint64_t)c > n ? '=' : ALPHABETS[urlsafe][bits >> (18 - 6 * c) & 63]);
        }
    }
    return out;
}

static void check_base64(csgate_simd level) {
    for (unsigned n = 0; n < SIZES + 500; n += n < SIZES ? 1 : 61) {
        for (int urlsafe = 0; urlsafe < 2; urlsafe++) {
            const unsigned offset = draw(5);
            uint8_t *data = noise(n), *room = block(n / 3 * 4 + 4), *got = block(n);
            const uint64_t size = encode(data, n, room, urlsafe);
            uint8_t *text = block(size + offset);
            memcpy(text + offset, room, size);
            CHECK(csgate_base64_size(text + offset, size) == n, "n %u", n);
            const uint64_t stop = csgate_base64_decode(level, text + offset, size, got, n, urlsafe);
            CHECK(stop == size, "level %d n %u stops at %u", (int)level, n, (unsigned)stop);
            CHECK(memcmp(got, data, n) == 0, "level %d n %u", (int)level, n);
            for (unsigned tries = 0; size > 0 && tries < 8; tries++) {
                /* Any other character anywhere: all levels name the same position. */
                const uint64_t at = draw((uint32_t)size);
                uint8_t *wrong = block(size), *room_for = block(size / 4 * 3);
                memcpy(wrong, text + offset, size);
                wrong[at] = (uint8_t)draw(256);
                const uint64_t capacity = csgate_base64_size(wrong, size);
                const uint64_t here = csgate_base64_decode(level, wrong, size, room_for, capacity, urlsafe);
                const uint64_t scalar = csgate_base64_decode(CSGATE_SCALAR, wrong, size, room_for, capacity, urlsafe);
                CHECK(here == scalar, "level %d n %u at %u", (int)level, n, (unsigned)at);
                if (wrong[at] == '!') {
                    CHECK(here == at, "level %d n %u at %u", (int)level, n, (unsigned)at);
                }
                free(wrong), free(room_for);
            }
            const uint64_t shorter = size > 0 ? draw((uint32_t)size) : 0;
            uint8_t *cut = block(shorter), *small = block(shorter / 4 * 3);
            memcpy(cut, text + offset, shorter);
            const uint64_t end =
                csgate_base64_decode(level, cut, shorter, small, csgate_base64_size(cut, shorter), urlsafe);
            CHECK(end == (shorter % 4 ? shorter + 1 : shorter), "level %d cut to %u", (int)level, (unsigned)shorter);
            free(cut), free(small), free(data), free(room), free(got), free(text);
        }
    }
}

static void check_frames(void) {
    for (unsigned round = 0; round < 20000; round++) {
        const unsigned n = draw(round % 2 ? 20 : SIZES);
        uint8_t *data = noise(n);
        if (n >= 2 && round % 3) { /* mostly close to right: final, text or binary, masked, some length */
            data[0] = 0x80 | (1 + draw(2));
            data[1] = 0x80 | (uint8_t)(draw(4) ? draw(n) % 126 : 126 + draw(2));
        }
        csgate_frame frame;
        if (csgate_frame_whole(data, n, 1 << 20, &frame)) {
            CHECK(frame.payload >= 6 && frame.payload + frame.length <= n, "round %u", round);
        }
        free(data);
    }
}

static void check_prepare(csgate_simd level, unsigned rounds) {
    for (unsigned round = 0; round < rounds; round++) {
        csgate_picture p;
        memset(&p, 0, sizeof p);
        const uint32_t most = round % 10 == 0 ? 300 : 48;
        p.width = 1 + draw(most);
        p.height = 1 + draw(most);
        p.channels = 3 + draw(2);
        p.alpha = (int)draw(2);
        p.filter = (csgate_filter)draw(2);
        p.tensor.width = 1 + draw(40);
        p.tensor.height = 1 + draw(40);
        p.tensor.dtype = (csgate_dtype)draw(3);
        p.tensor.layout = (csgate_layout)draw(2);
        if (draw(4) == 0) { /* nothing to resample: the rows are only split */
            p.tensor.width = p.width < 40 ? p.width : 40;
        }
        p.window[2] = 1 + draw(p.tensor.width);
        p.window[3] = 1 + draw(p.tensor.height);
        p.window[0] = draw(p.tensor.width - p.window[2] + 1);
        p.window[1] = draw(p.tensor.height - p.window[3] + 1);
        if (draw(2)) {
            p.box[2] = p.width;
            p.box[3] = p.height;
        } else {
            const double left = draw(1000) / 1000.0 * p.width, upper = draw(1000) / 1000.0 * p.height;
            p.box[0] = left;
            p.box[1] = upper;
            p.box[2] = left + (1 + draw(1000)) / 1000.0 * (p.width - left);
            p.box[3] = upper + (1 + draw(1000)) / 1000.0 * (p.height - upper);
        }
        if (round % 5 == 0) { /* neither axis is resampled */
            p.width = p.width > 60 ? 60 : p.width;
            p.window[2] = 1 + draw(p.width);
            p.window[3] = 1 + draw(p.height);
            p.tensor.width = p.window[2] + draw(3);
            p.tensor.height = p.window[3] + draw(3);
            p.window[0] = p.window[1] = 0;
            p.box[0] = draw(p.width - p.window[2] + 1);
            p.box[1] = draw(p.height - p.window[3] + 1);
            p.box[2] = p.box[0] + p.window[2];
            p.box[3] = p.box[1] + p.window[3];
        }
        for (unsigned c = 0; c < 3; c++) {
            p.fill[c] = (uint8_t)draw(256);
            p.tensor.mul[c] = (1 + draw(1000)) / 4000.0;
            p.tensor.add[c] = draw(2000) / 500.0 - 2.0;
        }
        uint8_t *pixels = noise((uint64_t)p.width * p.height * p.channels);
        p.pixels = pixels;
        const uint64_t item = p.tensor.dtype == CSGATE_FLOAT32 ? 4 : p.tensor.dtype == CSGATE_FLOAT16 ? 2 : 1;
        const uint64_t size = 3 * item * p.tensor.width * p.tensor.height;
        uint8_t *outputs[2];
        const csgate_simd both[2] = {CSGATE_SCALAR, level};
        for (int i = 0; i < 2; i++) {
            uint64_t scratch_size = csgate_prepare_scratch(both[i], &p);
            void *scratch = aligned_alloc(64, scratch_size);
            outputs[i] = block(size);
            memset(scratch, 0xEE, scratch_size);
            memset(outputs[i], 0xEE, size);
            p.tensor.data = outputs[i];
            csgate_prepare(both[i], &p, scratch);
            free(scratch);
        }
        CHECK(memcmp(outputs[0], outputs[1], size) == 0, "level %d round %u: %ux%u", (int)level, round, p.width, p.height);
        free(pixels), free(outputs[0]), free(outputs[1]);
    }
}

int main(void) {
    int levels = 0;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        if (!csgate_simd_supported(LEVELS[i])) {
            continue;
        }
        levels++;
        check_unmask(LEVELS[i]);
        check_base64(LEVELS[i]);
        check_prepare(LEVELS[i], 1500);
        check_quote(LEVELS[i]);
    }
    CHECK(csgate_simd_supported(csgate_simd_detect()), "detected %d", (int)csgate_simd_detect());
    check_utf8();
    check_frames();
    printf("%llu checks at %d SIMD levels\n", (unsigned long long)checks, levels);
    return 0;
}
