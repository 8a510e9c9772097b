/* lib/http/http1_guard.h - a strict watch over the framing of HTTP/1.1 messages. Private to lib/http. */
#ifndef HTTP1_GUARD_H
#define HTTP1_GUARD_H

#include "lib/http/http_internal.h"

enum http1_guard_state {
    GUARD_LINE = 0, /* the request line */
    GUARD_LINE_LF,
    GUARD_FIELD, /* first byte of a line behind it */
    GUARD_NAME,
    GUARD_VALUE,
    GUARD_VALUE_LF,
    GUARD_END_LF, /* of the empty line */
    GUARD_SIZE,   /* first digit of a chunk's size */
    GUARD_SIZE_MORE,
    GUARD_EXTENSION,
    GUARD_SIZE_LF,
    GUARD_DATA,
    GUARD_DATA_CR,
    GUARD_DATA_LF,
    GUARD_DONE,
};

struct http1_guard {
    enum http1_guard_state state;
    size_t line_bytes, section_bytes, fields;
    size_t head_matched; /* bytes at the start of the line that are those of "HEAD " */
    unsigned spaces;     /* in the request line */
    char version[8];     /* behind the second of them */
    size_t version_len;
    uint64_t chunk_left, body_bytes;
    size_t body_max;
    const struct http_fault *fault;
};

/* A request line and headers come next. */
void http1_guard_head(struct http1_guard *guard);
/* The request is a HEAD, as far as it has been read; not asked of http_parser, which tells what it read in
 * pieces. */
bool http1_guard_is_head(const struct http1_guard *guard);
/* A chunked body comes next; larger ones than body_max are refused when a chunk announces it. */
void http1_guard_chunks(struct http1_guard *guard, size_t body_max);
/* Returns how many of the bytes are sound and belong to this part of the message: all of them, or fewer with
 * state GUARD_DONE (the part is complete) or a fault. */
size_t http1_guard_scan(struct http1_guard *guard, struct rk_slice bytes);

#endif
