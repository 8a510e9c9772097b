/* lib/http/http1_guard.c - a strict watch over the framing of HTTP/1.1 messages.
 *
 * Two parties that disagree on where a message ends can be made to see different
 * requests in the same bytes. http_parser can be built to check line ends and
 * field names or not to, and distributions ship it without: "\r" followed by
 * anything then ends the headers, "name :" is a header, "HTPP/1.1" a version, and
 * the two bytes behind a chunk may be anything. So this automaton sees every
 * framing byte first. It insists on RFC 9112 without the leniencies that the RFC
 * allows a recipient (bare LF, folded lines), tells http1.c where each part ends,
 * and http1.c refuses a message when http_parser does not see the end at the same
 * byte. */
#include "lib/http/http1_guard.h"

/* Method, spaces and version around the target. */
#define LINE_OVERHEAD    64u
#define SIZE_DIGITS_BITS 56

void http1_guard_head(struct http1_guard *guard)
{
    *guard = (struct http1_guard){.state = GUARD_LINE};
}

void http1_guard_chunks(struct http1_guard *guard, size_t body_max)
{
    *guard = (struct http1_guard){.state = GUARD_SIZE, .body_max = body_max};
}

static const char head_line[] = "HEAD ";

bool http1_guard_is_head(const struct http1_guard *guard)
{
    return guard->head_matched == sizeof(head_line) - 1;
}

/* RFC 9110 section 5.6.2: the characters of a token. */
static bool is_token(uint8_t c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c > ' ' && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const struct http_fault *need(bool ok)
{
    return ok ? NULL : &http_fault_syntax;
}

static const struct http_fault *size_line_end(struct http1_guard *guard)
{
    guard->line_bytes = 0;
    if (guard->chunk_left == 0) {
        guard->state = GUARD_FIELD; /* trailers */
        return NULL;
    }
    guard->body_bytes += guard->chunk_left;
    guard->state = GUARD_DATA;
    return guard->body_bytes > guard->body_max ? &http_fault_body_large : NULL;
}

static const struct http_fault *size_byte(struct http1_guard *guard, uint8_t c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (guard->chunk_left >> SIZE_DIGITS_BITS)
            return &http_fault_body_large;
        guard->chunk_left = guard->chunk_left << 4 | (uint64_t)digit;
        guard->state = GUARD_SIZE_MORE;
    } else if (guard->state == GUARD_SIZE_MORE && c == '\r') {
        guard->state = GUARD_SIZE_LF;
    } else if (guard->state == GUARD_SIZE_MORE && (c == ';' || c == ' ')) {
        guard->state = GUARD_EXTENSION;
    } else {
        return &http_fault_syntax;
    }
    return NULL;
}

/* The body's part: sizes, extensions, and what surrounds the data. */
static const struct http_fault *chunk_byte(struct http1_guard *guard, uint8_t c)
{
    if (guard->state <= GUARD_SIZE_LF && ++guard->line_bytes > RK_HTTP_CHUNK_LINE_BYTES_MAX)
        return &http_fault_syntax;
    switch (guard->state) {
    case GUARD_EXTENSION:
        guard->state = c == '\r' ? GUARD_SIZE_LF : GUARD_EXTENSION;
        return need(c == '\r' || c == '\t' || (c >= ' ' && c != 0x7f));
    case GUARD_SIZE_LF:
        return c == '\n' ? size_line_end(guard) : &http_fault_syntax;
    case GUARD_DATA_CR:
        guard->state = GUARD_DATA_LF;
        return need(c == '\r');
    case GUARD_DATA_LF:
        guard->state = GUARD_SIZE;
        guard->chunk_left = 0;
        return need(c == '\n');
    default:
        return size_byte(guard, c);
    }
}

/* The first byte of a line: the empty line that ends the part, or a field. A blank would continue the line
 * before, which nobody may send any more (RFC 9112 section 5.2). */
static const struct http_fault *field_byte(struct http1_guard *guard, uint8_t c)
{
    if (c == '\r') {
        guard->state = GUARD_END_LF;
        return NULL;
    }
    guard->state = GUARD_NAME;
    if (++guard->fields > RK_HTTP_HEADERS_MAX)
        return &http_fault_headers_many;
    return need(is_token(c));
}

static bool line_ok(const struct http1_guard *guard)
{
    const char *v = guard->version;
    return guard->spaces == 2 && guard->version_len == sizeof(guard->version) && memcmp(v, "HTTP/", 5) == 0 &&
           v[5] >= '0' && v[5] <= '9' && v[6] == '.' && v[7] >= '0' && v[7] <= '9';
}

/* Method, space, target, space, version: RFC 9112 section 3. */
static const struct http_fault *line_byte(struct http1_guard *guard, uint8_t c)
{
    size_t at = guard->line_bytes++;
    if (at >= RK_HTTP_TARGET_BYTES_MAX + LINE_OVERHEAD)
        return &http_fault_target_long;
    if (at == guard->head_matched && at < sizeof(head_line) - 1 && c == (uint8_t)head_line[at])
        guard->head_matched++;
    if (c == '\r') {
        guard->state = GUARD_LINE_LF;
        return need(line_ok(guard));
    }
    if (c == ' ')
        return need(++guard->spaces <= 2);
    if (guard->spaces == 2) {
        if (guard->version_len == sizeof(guard->version))
            return &http_fault_syntax;
        guard->version[guard->version_len++] = (char)c;
    }
    return need(c > ' ');
}

static const struct http_fault *head_byte(struct http1_guard *guard, uint8_t c)
{
    switch (guard->state) {
    case GUARD_LINE:
        return line_byte(guard, c);
    case GUARD_LINE_LF:
    case GUARD_VALUE_LF:
        guard->state = GUARD_FIELD;
        return need(c == '\n');
    case GUARD_FIELD:
        return field_byte(guard, c);
    case GUARD_NAME:
        guard->state = c == ':' ? GUARD_VALUE : GUARD_NAME;
        return need(c == ':' || is_token(c));
    case GUARD_VALUE:
        guard->state = c == '\r' ? GUARD_VALUE_LF : GUARD_VALUE;
        return need(c == '\r' || c == '\t' || (c >= ' ' && c != 0x7f));
    default: /* GUARD_END_LF */
        guard->state = GUARD_DONE;
        return need(c == '\n');
    }
}

static const struct http_fault *guard_byte(struct http1_guard *guard, uint8_t c)
{
    if (guard->state >= GUARD_SIZE)
        return chunk_byte(guard, c);
    if (guard->state >= GUARD_FIELD && ++guard->section_bytes > RK_HTTP_HEADER_BYTES_MAX)
        return &http_fault_headers_large;
    return head_byte(guard, c);
}

size_t http1_guard_scan(struct http1_guard *guard, struct rk_slice bytes)
{
    size_t at = 0;
    while (at < bytes.len && guard->state != GUARD_DONE) {
        if (guard->state == GUARD_DATA) {
            size_t n = (size_t)rk_min_u64(guard->chunk_left, bytes.len - at);
            at += n;
            guard->chunk_left -= n;
            if (guard->chunk_left == 0)
                guard->state = GUARD_DATA_CR;
            continue;
        }
        guard->fault = guard_byte(guard, bytes.data[at]);
        if (guard->fault)
            break;
        at++;
    }
    return at;
}
