#ifndef CSGATE_FRAME_H
#define CSGATE_FRAME_H

#include <stdint.h>

/* A frame that carries a whole message: where its masking key and payload lie, counted from the frame's first byte. */
typedef struct {
    uint64_t payload; /* offset; the 4 bytes in front of it are the masking key */
    uint64_t length;
    uint8_t opcode;
} csgate_frame;

/* Looks at the n bytes at `data` (RFC 6455 section 5.2). 1: they begin with a whole frame, final, without reserved
 * bits, opcode 1 or 2, masked, its length minimally encoded and at most `max_length`; `frame` is filled in. 0: they begin
 * with anything else, right or wrong. */
int csgate_frame_whole(const uint8_t *data, uint64_t n, uint64_t max_length, csgate_frame *frame);

#endif
