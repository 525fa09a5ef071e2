/* evhttp reads a request without an end to its patience as long as a byte comes now and then, and tells nobody when a connection is gone. So each
 * connection's bufferevent is held by a second reference here: a look once a second finds those that evhttp has let go of, and ends those whose
 * request did not arrive in time. */
#include "base/web.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { IDLE_S = 30, LOOK_MS = 1000, MAX_STREAM_BACKLOG = 256 << 10 };

struct client {
	struct bufferevent *stream;
	uint64_t since_ms;      /* when it came, or its last request was complete */
	bool streaming;         /* events are sent: no end to it */
	struct client *next;
};

struct web {
	struct loop *loop;
	struct evhttp *http;
	struct evconnlistener *listener;
	struct client *clients;
	size_t count, streams;
	bool full;
	struct loop_timer *look;
	web_handler handler;
	void *arg;
};

struct web_request {
	struct web *web;
	struct evhttp_request *raw;
	char *path;
	size_t path_n;
	struct evkeyvalq form;
	bool form_read, answered;
};

struct web_stream {
	struct web *web;
	struct evhttp_request *raw;
	void (*on_gone)(void *arg, struct web_stream *s);
	void *arg;
};

/* Connections ----------------------------------------------------------------------------------------------------------------------- */

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
	struct web *w = arg;
	struct client *c = MEM_NEW(struct client);
	c->stream = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);   /* closed with our reference, never under its events */
	if (!c->stream) {
		mem_free(c);
		return NULL;
	}
	bufferevent_incref(c->stream);
	c->since_ms = clock_mono_ms();
	c->next = w->clients;
	w->clients = c;
	if (++w->count >= WEB_MAX_CONNECTIONS && !w->full) {
		w->full = true;
		log_event(LOG_WARN, "web-full", LOG_UINT("connections", w->count), LOG_END);
		evconnlistener_disable(w->listener);
	}
	return c->stream;
}

static struct client *client_of(struct web *w, struct evhttp_request *raw)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(raw);
	struct bufferevent *stream = connection ? evhttp_connection_get_bufferevent(connection) : NULL;
	struct client *c = w->clients;
	while (c && c->stream != stream)
		c = c->next;
	return c;
}

/* evhttp clears the callbacks of a bufferevent that it frees. */
static bool is_gone(const struct client *c)
{
	bufferevent_data_cb on_read, on_write;
	bufferevent_event_cb on_event;
	void *arg;
	bufferevent_getcb(c->stream, &on_read, &on_write, &on_event, &arg);
	return !on_read && !on_write && !on_event;
}

static void look_at_clients(void *arg)
{
	struct web *w = arg;
	uint64_t now = clock_mono_ms(), slow = 0;
	for (struct client **at = &w->clients; *at;) {
		struct client *c = *at;
		if (is_gone(c)) {
			*at = c->next;
			bufferevent_decref(c->stream);
			mem_free(c);
			w->count--;
			continue;
		}
		if (!c->streaming && now - c->since_ms > WEB_REQUEST_MS && bufferevent_getfd(c->stream) >= 0) {
			shutdown(bufferevent_getfd(c->stream), SHUT_RDWR);   /* evhttp sees the end and frees it */
			slow++;
		}
		at = &c->next;
	}
	if (slow)
		log_event(LOG_INFO, "web-slow", LOG_UINT("connections", slow), LOG_END); /* one line a second, whatever comes */
	if (w->full && w->count < WEB_MAX_CONNECTIONS) {
		w->full = false;
		evconnlistener_enable(w->listener);
	}
	loop_timer_set(w->look, LOOK_MS);
}

size_t web_connections(const struct web *w)
{
	return w->count;
}

/* Requests -------------------------------------------------------------------------------------------------------------------------- */

static void forget(struct web_request *r)
{
	if (r->form_read)
		evhttp_clear_headers(&r->form);
	free(r->path);
}

static void on_request(struct evhttp_request *raw, void *arg)
{
	struct web *w = arg;
	struct web_request r = { .web = w, .raw = raw };
	struct client *c = client_of(w, raw);
	if (c)
		c->since_ms = clock_mono_ms();
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(raw);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	r.path = path && *path ? evhttp_uridecode(path, 0, &r.path_n) : NULL;
	enum evhttp_cmd_type command = evhttp_request_get_command(raw);
	if (command != EVHTTP_REQ_GET && command != EVHTTP_REQ_HEAD && command != EVHTTP_REQ_POST)
		web_reply(&r, 405, "text/plain", SLICE("Only GET, HEAD and POST are served here.\n"));
	else if (!r.path || r.path[0] != '/' || strlen(r.path) != r.path_n)
		web_reply(&r, 400, "text/plain", SLICE("This path can't be read.\n"));
	else
		w->handler(w->arg, &r);
	if (!r.answered)
		web_reply(&r, 500, "text/plain", SLICE("Nothing answers this.\n"));
	forget(&r);
}

enum web_method web_method(const struct web_request *r)
{
	return evhttp_request_get_command(r->raw) == EVHTTP_REQ_POST ? WEB_POST : WEB_GET;
}

struct slice web_path(const struct web_request *r)
{
	return slice(r->path, r->path_n);
}

static struct slice value_of(const struct evkeyvalq *pairs, const char *name)
{
	const char *value = evhttp_find_header(pairs, name);
	return value ? slice_of(value) : SLICE("");
}

struct slice web_form(struct web_request *r, const char *name)
{
	if (!r->form_read) {
		struct evbuffer *in = evhttp_request_get_input_buffer(r->raw);
		size_t n = evbuffer_get_length(in);
		char *text = mem_copy((const char *)evbuffer_pullup(in, -1), n);
		int error = strlen(text) == n ? evhttp_parse_query_str(text, &r->form) : -1;
		mem_free(text);
		if (error)
			return SLICE("");
		r->form_read = true;
	}
	return value_of(&r->form, name);
}

/* 0.0.0.0: "::" would be in one network with ::1. */
static struct net_ip nobody(void)
{
	struct net_ip ip;
	net_ip_parse(SLICE("0.0.0.0"), &ip);
	return ip;
}

/* The last field of a name, since a proxy that adds one adds it behind those of its client. p NULL: there is none. */
static struct slice last_header(const struct web_request *r, const char *name)
{
	const struct evkeyvalq *all = evhttp_request_get_input_headers(r->raw);
	struct slice found = SLICE_NONE;
	for (const struct evkeyval *pair = all->tqh_first; pair; pair = pair->next.tqe_next)
		if (slice_eq_nocase(slice_of(pair->key), slice_of(name)))
			found = slice_of(pair->value);
	return found;
}

static struct net_ip last_forwarded(struct slice line)
{
	struct net_ip ip = nobody();
	size_t comma = slice_rfind(line, ',');
	net_ip_parse(slice_trim(comma < line.n ? slice_skip(line, comma + 1) : line), &ip);
	return ip;
}

struct net_ip web_client(const struct web_request *r)
{
	char *address = NULL;
	uint16_t port;
	struct net_ip ip = nobody();
	struct evhttp_connection *connection = evhttp_request_get_connection(r->raw);
	if (connection)
		evhttp_connection_get_peer(connection, &address, &port);
	if (address)
		net_ip_parse(slice_of(address), &ip);
	struct slice line = last_header(r, "X-Forwarded-For");
	return line.p && net_ip_is_loopback(&ip) ? last_forwarded(line) : ip;
}

void web_set_header(struct web_request *r, const char *name, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(r->raw), name, value);
}

void web_reply(struct web_request *r, int code, const char *type, struct slice body)
{
	struct evbuffer *out = evbuffer_new();
	if (out)
		evbuffer_add(out, body.p, body.n);
	if (type)
		web_set_header(r, "Content-Type", type);
	evhttp_send_reply(r->raw, code, NULL, out);
	if (out)
		evbuffer_free(out);
	r->answered = true;
}

/* Later ------------------------------------------------------------------------------------------------------------------------------ */

struct web_later {
	struct evhttp_request *raw;
	void (*on_gone)(void *arg, struct web_later *l);
	void *arg;
};

static void on_asker_gone(struct evhttp_connection *connection, void *arg)
{
	(void)connection;
	struct web_later *l = arg;
	l->on_gone(l->arg, l);
	mem_free(l);
}

struct web_later *web_later_begin(struct web_request *r, void (*on_gone)(void *arg, struct web_later *l), void *arg)
{
	struct web_later *l = MEM_NEW(struct web_later);
	*l = (struct web_later){ r->raw, on_gone, arg };
	evhttp_connection_set_closecb(evhttp_request_get_connection(r->raw), on_asker_gone, l);
	r->answered = true;
	return l;
}

void web_later_reply(struct web_later *l, int code, const char *type, struct slice body, const char *location)
{
	struct web_request r = { .raw = l->raw };
	evhttp_connection_set_closecb(evhttp_request_get_connection(l->raw), NULL, NULL);
	if (location)
		web_set_header(&r, "Location", location);
	web_reply(&r, code, type, body);
	mem_free(l);
}

/* Streams --------------------------------------------------------------------------------------------------------------------------- */

static void stream_free(struct web_stream *s)
{
	s->web->streams--;
	mem_free(s);
}

static void on_stream_gone(struct evhttp_connection *connection, void *arg)
{
	(void)connection;
	struct web_stream *s = arg;
	s->on_gone(s->arg, s);
	stream_free(s);
}

struct web_stream *web_stream_begin(struct web_request *r, void (*on_gone)(void *arg, struct web_stream *s), void *arg)
{
	struct client *c = client_of(r->web, r->raw);
	if (!c || r->web->streams >= WEB_MAX_STREAMS) {
		web_reply(r, 503, "text/plain", SLICE("Too many watch already. The page shows the same when it is loaded again.\n"));
		return NULL;
	}
	struct web_stream *s = MEM_NEW(struct web_stream);
	*s = (struct web_stream){ r->web, r->raw, on_gone, arg };
	c->streaming = true;
	r->web->streams++;
	web_set_header(r, "Content-Type", "text/event-stream");
	web_set_header(r, "X-Accel-Buffering", "no");
	evhttp_connection_set_closecb(evhttp_request_get_connection(r->raw), on_stream_gone, s);
	evhttp_send_reply_start(r->raw, 200, NULL);
	r->answered = true;
	return s;
}

void web_stream_send(struct web_stream *s, struct slice event, struct slice data)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(s->raw);
	struct evbuffer *waiting = bufferevent_get_output(evhttp_connection_get_bufferevent(connection));
	if (evbuffer_get_length(waiting) > MAX_STREAM_BACKLOG)
		return;                 /* a client that does not read misses a step, not our memory */
	struct evbuffer *out = evbuffer_new();
	if (!out)
		return;
	evbuffer_add_printf(out, "event: %.*s\ndata: ", SLICE_FMT(event));
	evbuffer_add(out, data.p, data.n);
	evbuffer_add(out, "\n\n", 2);
	evhttp_send_reply_chunk(s->raw, out);
	evbuffer_free(out);
}

void web_stream_end(struct web_stream *s)
{
	evhttp_connection_set_closecb(evhttp_request_get_connection(s->raw), NULL, NULL);
	evhttp_send_reply_end(s->raw);
	stream_free(s);
}

/* Life ------------------------------------------------------------------------------------------------------------------------------ */

struct web *web_new(struct loop *l, web_handler handler, void *arg)
{
	struct web *w = MEM_NEW(struct web);
	w->loop = l;
	w->handler = handler;
	w->arg = arg;
	w->http = evhttp_new(loop_base(l));
	if (!w->http)
		abort();
	evhttp_set_max_headers_size(w->http, WEB_MAX_HEAD);
	evhttp_set_max_body_size(w->http, WEB_MAX_BODY);
	evhttp_set_timeout(w->http, IDLE_S);
	evhttp_set_allowed_methods(w->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST);
	evhttp_set_bevcb(w->http, on_connection, w);
	evhttp_set_gencb(w->http, on_request, w);
	w->look = loop_timer_new(l, look_at_clients, w);
	loop_timer_set(w->look, LOOK_MS);
	return w;
}

int web_listen(struct web *w, int fd)
{
	w->listener = evconnlistener_new(loop_base(w->loop), NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!w->listener)
		return -errno;
	return evhttp_bind_listener(w->http, w->listener) ? 0 : -ENOMEM;
}

void web_free(struct web *w)
{
	if (!w)
		return;
	evhttp_free(w->http);   /* listener and connections, too */
	while (w->clients) {
		struct client *c = w->clients;
		w->clients = c->next;
		bufferevent_decref(c->stream);
		mem_free(c);
	}
	loop_timer_free(w->look);
	mem_free(w);
}
