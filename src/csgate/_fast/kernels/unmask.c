#include "unmask.h"

#include <string.h>

/* Plain C that compilers turn into vector code of whatever width the target allows; words go through memcpy because
 * a payload starts at any address. */
CSGATE_INLINE void unmask_body(uint8_t *data, uint64_t n, const uint8_t turned[8]) {
    uint64_t mask;
    memcpy(&mask, turned, 8);
    const uint64_t words = n / 8;
    for (uint64_t w = 0; w < words; w++) {
        uint64_t word;
        memcpy(&word, data + 8 * w, 8);
        word ^= mask;
        memcpy(data + 8 * w, &word, 8);
    }
    for (uint64_t i = 8 * words; i < n; i++) {
        data[i] ^= turned[i & 7];
    }
}

static void unmask_baseline(uint8_t *data, uint64_t n, const uint8_t turned[8]) { unmask_body(data, n, turned); }

#if defined(CSGATE_X86)
CSGATE_TARGET("avx2") static void unmask_avx2(uint8_t *data, uint64_t n, const uint8_t turned[8]) {
    unmask_body(data, n, turned);
}
#endif

unsigned csgate_unmask(csgate_simd level, uint8_t *data, uint64_t n, const uint8_t key[4], unsigned phase) {
    uint8_t turned[8]; /* the key as the first eight bytes meet it */
    for (unsigned i = 0; i < 8; i++) {
        turned[i] = key[(phase + i) & 3];
    }
#if defined(CSGATE_X86)
    if (level >= CSGATE_AVX2) {
        unmask_avx2(data, n, turned);
    } else {
        unmask_baseline(data, n, turned);
    }
#else
    (void)level;
    unmask_baseline(data, n, turned);
#endif
    return (unsigned)((phase + n) & 3);
}
