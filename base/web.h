#ifndef BASE_WEB_H
#define BASE_WEB_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"

/* An HTTP/1.1 server for a few small pages (libevent's evhttp behind one file). Bounded in connections, header and body bytes, and in the time that a
 * request may take to arrive, so that slow posts and ten thousand connections cost a fixed amount. Plain HTTP: TLS is the matter of a proxy in front. */
enum { WEB_MAX_CONNECTIONS = 1024, WEB_MAX_HEAD = 16 << 10, WEB_MAX_BODY = 16 << 10, WEB_REQUEST_MS = 10000, WEB_MAX_STREAMS = 64 };

enum web_method { WEB_GET, WEB_POST };  /* HEAD comes as GET, its body is left out; others are answered 405 */

struct web;
struct web_request;

/* Called once for each request; it answers by web_reply, web_later_begin or web_stream_begin before it returns. */
typedef void (*web_handler)(void *arg, struct web_request *r);

struct web *web_new(struct loop *l, web_handler handler, void *arg);
int web_listen(struct web *w, int fd);     /* a listening socket, which becomes ours; 0 or -errno */
void web_free(struct web *w);
size_t web_connections(const struct web *w);

enum web_method web_method(const struct web_request *r);
struct slice web_path(const struct web_request *r);           /* decoded, begins with "/", without the query */
struct slice web_form(struct web_request *r, const char *name);  /* of an urlencoded body; "" if absent */
/* Who asks. A proxy on this machine speaks for others: then the address that it has put last into X-Forwarded-For, and 0.0.0.0 where that can't be
 * read. Without the field a client on this machine speaks for itself. */
struct net_ip web_client(const struct web_request *r);

void web_set_header(struct web_request *r, const char *name, const char *value);
void web_reply(struct web_request *r, int code, const char *type, struct slice body);

/* An answer that comes when something is done. on_gone is called once when the client left; after it, and after web_later_reply, it is invalid. location: of a redirection, or NULL. */
struct web_later;
struct web_later *web_later_begin(struct web_request *r, void (*on_gone)(void *arg, struct web_later *l), void *arg);
void web_later_reply(struct web_later *l, int code, const char *type, struct slice body, const char *location);

/* Server-sent events (WHATWG HTML, 9.2). on_gone is called once when the client left; after it, and after web_stream_end, the stream is invalid.
 * NULL: too many streams; the request was answered 503. */
struct web_stream;
struct web_stream *web_stream_begin(struct web_request *r, void (*on_gone)(void *arg, struct web_stream *s), void *arg);
void web_stream_send(struct web_stream *s, struct slice event, struct slice data); /* data: one line */
void web_stream_end(struct web_stream *s);
#endif
