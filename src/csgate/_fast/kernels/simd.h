/* Which instruction sets the kernels may use, and the attributes that let one C file hold a version for each.
 *
 * The wheel is built for the architecture's baseline (x86-64: SSE2, arm64: NEON). Versions above it are compiled with
 * the target attribute and chosen at run time, once, by csgate_simd_detect().
 */
#ifndef CSGATE_SIMD_H
#define CSGATE_SIMD_H

#include <stdint.h>

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#define CSGATE_X86 1
#include <immintrin.h>
#define CSGATE_TARGET(isa) __attribute__((target(isa)))
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define CSGATE_ARM64 1
#include <arm_neon.h>
#endif

#if defined(__GNUC__) || defined(__clang__)
#define CSGATE_INLINE static inline __attribute__((always_inline))
#else
#define CSGATE_INLINE static inline
#endif

/* In ascending order on one architecture: a kernel without a version for a level uses the next one below.
 * CSGATE_AVX512 asks for the VBMI and VNNI extensions (Ice Lake, Zen 4 and later): permutations of bytes pay for Base64,
 * multiply-and-accumulate of bytes and of 16-bit pairs for resizing. */
typedef enum { CSGATE_SCALAR = 0, CSGATE_SSSE3 = 1, CSGATE_AVX2 = 2, CSGATE_AVX512 = 3, CSGATE_NEON = 4 } csgate_simd;

/* The best level this machine runs. */
csgate_simd csgate_simd_detect(void);

/* Whether this machine runs `level`; every machine runs CSGATE_SCALAR. */
int csgate_simd_supported(csgate_simd level);

#endif
