#include "rows.h"

#if defined(CSGATE_ARM64)
uint32_t csgate_resample_neon(const uint8_t *row, uint32_t channels, const csgate_axis *axis, int16_t *planes,
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

uint32_t csgate_split_neon(const uint8_t *row, uint32_t channels, uint32_t n, int16_t *planes, uint64_t stride) {
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
#else
typedef int csgate_no_neon; /* a translation unit is never empty */
#endif
