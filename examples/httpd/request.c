/* SPDX-License-Identifier: MIT
 *
 * From bytes to a request: http_parser finds the parts, this keeps the few that matter, as spans of
 * the buffer, and says with which status what is wrong is to be refused.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "http.h"

static const char *const names[FIELDS] = {"range", "if-range", "if-none-match", "if-modified-since",
                                          "host"};

/* The parser gives parts of a token as they come; in the buffer they are side by side. */
static void extend(struct span *span, const char *at, size_t length)
{
        if (!span->at)
                span->at = at;
        span->length = (size_t)(at + length - span->at);
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
        struct request *r = parser->data;

        extend(&r->target, at, length);
        return r->target.length > TARGET_MOST;
}

/* A field is complete when the next one begins, or none. */
static void end_field(struct request *r)
{
        while (r->value.length && strchr(" \t", r->value.at[r->value.length - 1]))
                r->value.length--;
        for (int i = 0; r->value.at && i < FIELDS; i++)
                if (r->name.length == strlen(names[i]) &&
                    !strncasecmp(r->name.at, names[i], r->name.length)) {
                        r->field[i] = r->value;
                        r->hosts += i == HOST;
                }
        r->name.at = r->value.at = NULL;
}

static int on_name(http_parser *parser, const char *at, size_t length)
{
        struct request *r = parser->data;

        if (r->value.at)
                end_field(r);
        extend(&r->name, at, length);
        return 0;
}

static int on_value(http_parser *parser, const char *at, size_t length)
{
        extend(&((struct request *)parser->data)->value, at, length);
        return 0;
}

static int on_fields_end(http_parser *parser)
{
        struct request *r = parser->data;

        end_field(r);
        r->body = parser->uses_transfer_encoding || (parser->content_length + 1) > 1; /* -1: none */
        return 1; /* for the parser the request ends here */
}

static int on_end(http_parser *parser)
{
        http_parser_pause(parser, 1); /* behind it there may be the next */
        return 0;
}

static const http_parser_settings callbacks = {.on_url = on_url,
                                               .on_header_field = on_name,
                                               .on_header_value = on_value,
                                               .on_headers_complete = on_fields_end,
                                               .on_message_complete = on_end};

void begin_request(struct connection *c)
{
        struct request *r = &c->request;

        c->in_used -= r->parsed;
        memmove(c->in, c->in + r->parsed, c->in_used);
        memset(r, 0, sizeof *r);
        http_parser_init(&r->parser, HTTP_REQUEST);
        r->parser.data = r;
}

/* What is wrong with it; 0: nothing so far. */
static int status_of(const struct connection *c, enum http_errno error)
{
        const struct request *r = &c->request;

        if (error == HPE_OK) /* so far, it goes on */
                return c->in_used == IN_BYTES ? 431 : 0;
        if (error == HPE_CB_url)
                return 414;
        if (error == HPE_INVALID_METHOD)
                return isupper((unsigned char)*c->in) ? 501 : 400;
        if (error == HPE_INVALID_VERSION || (error == HPE_PAUSED && r->parser.http_major != 1))
                return 505;
        if (error != HPE_PAUSED || r->hosts > 1 || (r->parser.http_minor > 0 && !r->hosts))
                return 400;
        if (r->parser.method != HTTP_GET && r->parser.method != HTTP_HEAD)
                return 405;
        return r->body ? 413 : 0;
}

bool parse_request(struct connection *c)
{
        struct request *r = &c->request;
        bool complete;

        r->parsed += http_parser_execute(&r->parser, &callbacks, c->in + r->parsed,
                                         c->in_used - r->parsed);
        complete = HTTP_PARSER_ERRNO(&r->parser) == HPE_PAUSED;
        r->status = status_of(c, HTTP_PARSER_ERRNO(&r->parser));
        c->keep = !r->status && (!complete || http_should_keep_alive(&r->parser));
        return complete || r->status;
}
