#include "simd.h"

int csgate_simd_supported(csgate_simd level) {
    switch (level) {
        case CSGATE_SCALAR:
            return 1;
#if defined(CSGATE_X86)
        case CSGATE_SSSE3:
            __builtin_cpu_init();
            return __builtin_cpu_supports("ssse3") != 0;
        case CSGATE_AVX2:
            /* Asks the operating system too: without saved YMM registers the answer is no. */
            __builtin_cpu_init();
            return __builtin_cpu_supports("avx2") != 0;
        case CSGATE_AVX512:
            __builtin_cpu_init();
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
                   __builtin_cpu_supports("avx512vnni");
#elif defined(CSGATE_ARM64)
        case CSGATE_NEON:
            return 1;
#endif
        default:
            return 0;
    }
}

csgate_simd csgate_simd_detect(void) {
    static const csgate_simd best_first[] = {CSGATE_NEON, CSGATE_AVX512, CSGATE_AVX2, CSGATE_SSSE3};
    for (unsigned i = 0; i < sizeof best_first / sizeof best_first[0]; i++) {
        if (csgate_simd_supported(best_first[i])) {
            return best_first[i];
        }
    }
    return CSGATE_SCALAR;
}
