/* http1.c - see http1.h.  Grammar: RFC 9110 §5, RFC 9112 §2-7. */
#include "http1.h"

#include <string.h>
#include <strings.h>

static bool http1_is_token(const char *text, size_t n)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < n; i++) {
        const char c = text[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr(marks, c))))
            return false;
    }
    return n > 0;
}

/* Field text: no control but tab. */
static bool http1_is_text(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
            return false;
    return true;
}

size_t http1_head_size(const char *data, size_t n)
{
    const char *end = memmem(data, n, "\r\n\r\n", 4);

    return end ? (size_t)(end - data) + 4 : 0;
}

/* Cuts the target at '?'.  A target with a scheme (a proxy's) is not ours to serve. */
static int http1_parse_target(char *target, struct http1_head *head, struct fault *fault)
{
    char *query = strchr(target, '?');

    if (strlen(target) > HTTP1_TARGET_BYTES)
        return fault_set(fault, 414, "the request's target has %zu bytes, at most %d", strlen(target),
                         HTTP1_TARGET_BYTES);
    if (*target != '/')
        return fault_set(fault, 400, "the request's target must begin with '/'");
    if (query)
        *query++ = '\0';
    head->path = target;
    head->query = query ? query : "";
    return HTTP1_OK;
}

static int http1_parse_line(char *line, struct http1_head *head, struct fault *fault)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;

    if (!version || !http1_is_token(line, (size_t)(target - line)) || !http1_is_text(line, strlen(line)))
        return fault_set(fault, 400, "this is no HTTP request line");
    *target++ = '\0';
    *version++ = '\0';
    for (const char *p = target; *p; p++)
        if (*p <= ' ' || *p > '~') /* a char has a sign on some machines and none on others */
            return fault_set(fault, 400, "the request's target has bytes that must be percent-encoded");
    if (strncmp(version, "HTTP/1.", 7) || (version[7] != '0' && version[7] != '1') || version[8])
        return fault_set(fault, strncmp(version, "HTTP/", 5) ? 400 : 505,
                         "only HTTP/1.0 and HTTP/1.1 are spoken here");
    head->method = line;
    head->minor = version[7] - '0';
    head->keep_alive = head->minor == 1;
    return http1_parse_target(target, head, fault);
}

static int http1_set_length(struct http1_head *head, const char *value, struct fault *fault)
{
    uint64_t n = 0;

    if (head->has_length)
        return fault_set(fault, 400, "Content-Length is given twice");
    for (const char *p = value; *p || p == value; p++) {
        if (*p < '0' || *p > '9' || n > (UINT64_MAX - 9) / 10)
            return fault_set(fault, 400, "Content-Length is not a number");
        n = 10 * n + (uint64_t)(*p - '0');
    }
    head->has_length = true;
    head->n_body = n;
    return HTTP1_OK;
}

static int http1_set_coding(struct http1_head *head, const char *value, struct fault *fault)
{
    if (head->chunked || head->minor == 0)
        return fault_set(fault, 400, "Transfer-Encoding does not belong here");
    if (strcasecmp(value, "chunked"))
        return fault_set(fault, 501, "Transfer-Encoding must be chunked or left out");
    head->chunked = true;
    return HTTP1_OK;
}

/* Connection: a list of words. */
static void http1_set_connection(struct http1_head *head, const char *value)
{
    while (*value) {
        const size_t n = strcspn(value, ", \t");

        if (n == 5 && !strncasecmp(value, "close", n))
            head->keep_alive = false;
        else if (n == 10 && !strncasecmp(value, "keep-alive", n) && head->minor == 0)
            head->keep_alive = true;
        value += n;
        value += strspn(value, ", \t");
    }
}

static int http1_set_once(const char **at, const char *name, const char *value, struct fault *fault)
{
    if (*at)
        return fault_set(fault, 400, "%s is given twice", name);
    *at = value;
    return HTTP1_OK;
}

static int http1_set_field(struct http1_head *head, const char *name, const char *value, struct fault *fault)
{
    if (!strcasecmp(name, "content-length"))
        return http1_set_length(head, value, fault);
    if (!strcasecmp(name, "transfer-encoding"))
        return http1_set_coding(head, value, fault);
    if (!strcasecmp(name, "host"))
        return http1_set_once(&head->host, "Host", value, fault);
    if (!strcasecmp(name, "origin"))
        return http1_set_once(&head->origin, "Origin", value, fault);
    if (!strcasecmp(name, "authorization"))
        return http1_set_once(&head->authorization, "Authorization", value, fault);
    if (!strcasecmp(name, "x-api-key"))
        return http1_set_once(&head->api_key, "X-Api-Key", value, fault);
    if (!strcasecmp(name, "connection"))
        http1_set_connection(head, value);
    if (!strcasecmp(name, "expect")) {
        if (strcasecmp(value, "100-continue"))
            return fault_set(fault, 417, "Expect must be 100-continue or left out");
        head->expects_continue = head->minor == 1;
    }
    return HTTP1_OK;
}

/* One field line without its CRLF. */
static int http1_parse_field(char *line, size_t n, struct http1_head *head, struct fault *fault)
{
    char *colon = memchr(line, ':', n), *value, *end = line + n;

    if (!colon || !http1_is_token(line, (size_t)(colon - line)))
        return fault_set(fault, 400, "a header field is not of the form 'Name: value'");
    if (!http1_is_text(colon + 1, (size_t)(end - colon - 1)))
        return fault_set(fault, 400, "a header field holds control characters");
    *colon = '\0';
    value = colon + 1 + strspn(colon + 1, " \t");
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    return http1_set_field(head, line, value, fault);
}

static int http1_parse_fields(char *at, char *end, struct http1_head *head, struct fault *fault)
{
    int n_fields = 0, r;

    while (at < end) {
        char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);

        if (++n_fields > HTTP1_FIELDS)
            return fault_set(fault, 431, "more than %d header fields", HTTP1_FIELDS);
        *line_end = '\0';
        r = http1_parse_field(at, (size_t)(line_end - at), head, fault);
        if (r)
            return r;
        at = line_end + 2;
    }
    return HTTP1_OK;
}

int http1_parse(char *data, size_t n, struct http1_head *ret_head, struct fault *fault)
{
    struct http1_head head = {};
    char *end = data + n - 2, *line_end; /* the last CRLF is the empty line */
    int r;

    if (n > HTTP1_HEAD_BYTES)
        return fault_set(fault, 431, "the request's head has more than %d bytes", HTTP1_HEAD_BYTES);
    if (memchr(data, '\0', n))
        return fault_set(fault, 400, "the request's head holds a NUL");
    line_end = memmem(data, n, "\r\n", 2);
    *line_end = '\0';
    r = http1_parse_line(data, &head, fault);
    if (!r)
        r = http1_parse_fields(line_end + 2, end, &head, fault);
    if (r)
        return r;
    if (head.chunked && head.has_length)
        return fault_set(fault, 400, "Content-Length and Transfer-Encoding exclude each other");
    if (!head.host && head.minor == 1)
        return fault_set(fault, 400, "Host is missing");
    *ret_head = head;
    return HTTP1_OK;
}

/* chunks */

/* The size line without CRLF; extensions are refused: nobody sends them, and they have hidden requests. */
static int http1_chunk_size(struct http1_chunks *chunks)
{
    uint64_t n = 0;

    if (!chunks->n_line || chunks->n_line > 15)
        return 400;
    for (size_t i = 0; i < chunks->n_line; i++) {
        static const char digits[] = "0123456789abcdef";
        const char c = chunks->line[i];
        const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;

        if (!at)
            return 400;
        n = n << 4 | (uint64_t)(at - digits);
    }
    chunks->left = n;
    chunks->state = n ? CHUNKS_DATA : CHUNKS_TRAILER;
    return HTTP1_OK;
}

/* A line is whole. */
static int http1_chunk_line(struct http1_chunks *chunks)
{
    const size_t n = chunks->n_line;
    int r = HTTP1_OK;

    if (chunks->state == CHUNKS_SIZE)
        r = http1_chunk_size(chunks);
    else if (chunks->state == CHUNKS_TRAILER && !n)
        chunks->state = CHUNKS_DONE;
    else if (chunks->state == CHUNKS_DATA_END)
        r = n ? 400 : HTTP1_OK;
    if (!r && chunks->state == CHUNKS_DATA_END)
        chunks->state = CHUNKS_SIZE;
    chunks->n_line = 0;
    return r;
}

/* Gathers a line; of a trailer only that it is there counts. */
static int http1_chunk_byte(struct http1_chunks *chunks, char c)
{
    const bool after_cr = chunks->n_line && chunks->line[chunks->n_line - 1] == '\r';

    if (after_cr != (c == '\n')) /* a CR alone, or a LF alone */
        return 400;
    if (chunks->state == CHUNKS_TRAILER && ++chunks->n_trailer > HTTP1_TRAILER_BYTES)
        return 431;
    if (after_cr) {
        chunks->n_line--;
        return http1_chunk_line(chunks);
    }
    if (chunks->n_line == sizeof(chunks->line)) {
        if (chunks->state != CHUNKS_TRAILER)
            return 400;
        chunks->n_line--; /* what a trailer says is not kept */
    }
    chunks->line[chunks->n_line++] = c;
    return HTTP1_OK;
}

int http1_chunk(struct http1_chunks *chunks, const char *data, size_t n, size_t *ret_used,
                const char **ret_text, size_t *ret_n)
{
    size_t used = 0;
    int r = HTTP1_OK;

    *ret_n = 0;
    while (used < n && !r && chunks->state != CHUNKS_DONE) {
        if (chunks->state != CHUNKS_DATA) {
            r = http1_chunk_byte(chunks, data[used++]);
            continue;
        }
        *ret_text = data + used;
        *ret_n = (size_t)MIN(chunks->left, (uint64_t)(n - used));
        used += *ret_n;
        chunks->left -= *ret_n;
        if (!chunks->left)
            chunks->state = CHUNKS_DATA_END;
        break;
    }
    *ret_used = used;
    if (r)
        return r;
    return used == n && chunks->state != CHUNKS_DONE && !*ret_n ? HTTP1_E_MORE : HTTP1_OK;
}

const char *http1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"},
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {529, "Overloaded"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}
