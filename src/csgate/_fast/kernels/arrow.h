#ifndef CSGATE_ARROW_H
#define CSGATE_ARROW_H

#include <stdint.h>

/* The Arrow C data interface's two structures; their layout is fixed by that specification. */

typedef struct csgate_arrow_schema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct csgate_arrow_schema **children;
    struct csgate_arrow_schema *dictionary;
    void (*release)(struct csgate_arrow_schema *);
    void *private_data;
} csgate_arrow_schema;

typedef struct csgate_arrow_array {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct csgate_arrow_array **children;
    struct csgate_arrow_array *dictionary;
    void (*release)(struct csgate_arrow_array *);
    void *private_data;
} csgate_arrow_array;

#endif
