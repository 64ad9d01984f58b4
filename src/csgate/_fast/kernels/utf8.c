#include "utf8.h"

#include <string.h>

static const uint64_t HIGH_BITS = UINT64_C(0x8080808080808080);

/* Index of the first byte that is not ASCII, or n. Four words a step: Base64 pictures make texts of a megabyte. */
static uint64_t skip_ascii(const uint8_t *data, uint64_t i, uint64_t n) {
    uint64_t a, b, c, d;
    while (n - i >= 32) {
        memcpy(&a, data + i, 8);
        memcpy(&b, data + i + 8, 8);
        memcpy(&c, data + i + 16, 8);
        memcpy(&d, data + i + 24, 8);
        if ((a | b | c | d) & HIGH_BITS) {
            break;
        }
        i += 32;
    }
    while (n - i >= 8) {
        memcpy(&a, data + i, 8);
        if (a & HIGH_BITS) {
            break;
        }
        i += 8;
    }
    while (i < n && data[i] < 0x80) {
        i++;
    }
    return i;
}

/* Table 3-7 of the Unicode standard: what may follow a first byte. Returns 0 for a byte that cannot come first. */
static int begin(csgate_utf8 *state, uint8_t first) {
    state->low = 0x80;
    state->high = 0xBF;
    if (first < 0xC2) { /* continuation bytes, and C0/C1, which could only start overlong forms */
        return 0;
    }
    if (first < 0xE0) {
        state->left = 1;
    } else if (first < 0xF0) {
        state->left = 2;
        if (first == 0xE0) {
            state->low = 0xA0; /* overlong below */
        } else if (first == 0xED) {
            state->high = 0x9F; /* surrogates above */
        }
    } else if (first < 0xF5) {
        state->left = 3;
        if (first == 0xF0) {
            state->low = 0x90; /* overlong below */
        } else if (first == 0xF4) {
            state->high = 0x8F; /* above U+10FFFF */
        }
    } else {
        return 0;
    }
    return 1;
}

uint64_t csgate_utf8_feed(csgate_utf8 *state, const uint8_t *data, uint64_t n) {
    uint64_t i = 0;
    csgate_utf8 now = *state;
    while (i < n) {
        if (now.left == 0) {
            /* Chinese text is runs of three bytes: take them whole while the window holds them. */
            while (n - i >= 3 && data[i] >= 0xE1 && data[i] <= 0xEC && (data[i + 1] & 0xC0) == 0x80 &&
                   (data[i + 2] & 0xC0) == 0x80) {
                i += 3;
            }
            i = skip_ascii(data, i, n);
            if (i == n) {
                break;
            }
            if (!begin(&now, data[i])) {
                return i;
            }
            i++;
        } else {
            if (data[i] < now.low || data[i] > now.high) {
                return i;
            }
            now.left--;
            now.low = 0x80;
            now.high = 0xBF;
            i++;
        }
    }
    *state = now;
    return n;
}
