/* lib/http/http_status.c - status codes and their phrases (RFC 9110 section 15), and the session's own
 * refusals. */
#include "lib/http/http_internal.h"

static const struct {
    unsigned status;
    const char *text;
} texts[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_text(unsigned status)
{
    for (size_t i = 0; i < RK_ARRAY_LEN(texts); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}

const struct http_fault http_fault_syntax = {400, "bad_request", "This is not a well-formed HTTP request."};
const struct http_fault http_fault_target = {400, "bad_target",
                                             "The request target is not a path on this server."};
const struct http_fault http_fault_target_long = {414, "target_too_long", "The request target is too long."};
const struct http_fault http_fault_host = {400, "bad_host", "A request needs exactly one valid host header."};
const struct http_fault http_fault_framing = {
    400, "bad_framing", "Content-length and transfer-encoding must agree on where the body ends."};
const struct http_fault http_fault_length = {400, "bad_length",
                                             "The content-length is not one decimal number."};
const struct http_fault http_fault_headers_large = {431, "headers_too_large",
                                                    "The request headers are too large."};
const struct http_fault http_fault_headers_many = {431, "too_many_headers",
                                                   "The request has too many headers."};
const struct http_fault http_fault_body_large = {413, "too_large", "The request body is too large."};
const struct http_fault http_fault_coding = {501, "unknown_transfer_coding",
                                             "The only transfer coding known here is chunked."};
const struct http_fault http_fault_connect = {501, "not_implemented", "This server is not a proxy."};
const struct http_fault http_fault_version = {505, "version_not_supported",
                                              "This connection speaks HTTP/1.0 and HTTP/1.1."};
const struct http_fault http_fault_expectation = {417, "expectation_failed",
                                                  "The only expectation known here is 100-continue."};

void http_fault_body(const struct http_fault *fault, struct rk_buf *ret)
{
    rk_buf_printf(ret, "{\"code\":\"%s\",\"message\":\"%s\"}\n", fault->code, fault->message);
}
