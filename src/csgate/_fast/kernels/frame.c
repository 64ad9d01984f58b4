#include "frame.h"

int csgate_frame_whole(const uint8_t *data, uint64_t n, uint64_t max_length, csgate_frame *frame) {
    if (n < 6 || (data[0] != 0x81 && data[0] != 0x82) || !(data[1] & 0x80)) {
        return 0;
    }
    uint64_t length = data[1] & 0x7F;
    uint64_t payload = 6;
    if (length == 126) {
        length = (uint64_t)data[2] << 8 | data[3];
        payload = 8;
        if (length < 126) {
            return 0;
        }
    } else if (length == 127) {
        if (n < 14) {
            return 0;
        }
        length = 0;
        for (int i = 2; i < 10; i++) {
            length = length << 8 | data[i];
        }
        payload = 14;
        if (length < 0x10000) {
            return 0;
        }
    }
    /* n >= payload has to be known before the subtraction; a sum could overflow. */
    if (length > max_length || n < payload || length > n - payload) {
        return 0;
    }
    frame->payload = payload;
    frame->length = length;
    frame->opcode = data[0] & 0x0F;
    return 1;
}
