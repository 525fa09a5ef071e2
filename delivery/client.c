/* A client's life, its connection's events, and its transactions: each command is a row of its script. */
#include "delivery/client_inside.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/tls.h"
#include "delivery/client_offer.h"

static void keep(struct buf *b, struct slice s)
{
	buf_init(b, s.n);
	buf_add(b, s);
}

/* -- life and the connection's events ---------------------------------------------------------------------------------------------- */

static void release(struct client *c)
{
	script_free(c->script);
	conn_free(c->conn);
	tls_free(c->context);
	mem_wipe(c->password.p, c->password.n);
	buf_free(&c->helo), buf_free(&c->host), buf_free(&c->login), buf_free(&c->password);
	mem_free(c);
}

void client_free(struct client *c)
{
	if (!c || c->freed)
		return;
	c->freed = c->ended = true;
	script_free(c->script);
	conn_free(c->conn);
	c->script = NULL;
	c->conn = NULL;
	if (!c->busy)
		release(c);
}

static void hold(struct client *c)
{
	c->busy++;
}

static void let_go(struct client *c)
{
	if (--c->busy == 0 && c->freed)
		release(c);
}

void client_end(struct client *c, enum client_end how, struct mail_status s)
{
	if (c->ended)
		return;
	c->ended = true;
	c->handler->on_end(c->arg, c, how, s);
}

void client_end_heard(struct client *c, enum client_end how, struct mail_status s)
{
	c->hears = true;
	client_end(c, how, s);
}

struct mail_status client_lost(struct slice text)
{
	return (struct mail_status){ MAIL_LATER, 451, { 4, 2 }, text };
}

bool client_is_greeted_again(struct client *c, const struct mail_reply *r)
{
	if (r->code == 220)
		client_end(c, CLIENT_CLOSED, client_lost(SLICE("A second greeting")));
	return r->code == 220;
}

void client_end_refused(struct client *c, const struct mail_reply *r)
{
	struct arena mem = ARENA_INIT(16384);
	struct mail_status s = mail_reply_status(r, &mem);
	if (s.code != 521) { /* a greeting says nothing about a recipient, save that this host never takes mail (RFC 7504) */
		s.fate = MAIL_LATER;
		s.code = s.code / 100 == 4 ? s.code : 451;
		s.enhanced[0] = 4;
		s.enhanced[1] = s.code == 421 ? 2 : 1;
	}
	client_end_heard(c, CLIENT_REFUSED, s);
	arena_free(&mem);
}

void client_add(struct client *c, struct slice command, unsigned hopes, bool alone, uint64_t ms,
                void (*on_reply)(void *, size_t, bool, const struct mail_reply *), size_t index)
{
	script_add(c->script, &(struct script_row){ .command = command, .hopes = hopes, .alone = alone, .timeout_ms = ms, .on_reply = on_reply, .index = index });
}

static void on_script_end(void *arg, enum script_end how, const char *why, const struct mail_reply *r)
{
	struct client *c = arg;
	hold(c);
	if (how == SCRIPT_SHUTDOWN)
		client_end_refused(c, r);
	else if (how == SCRIPT_BODY)
		client_end(c, CLIENT_CONTENT, slice_eq(slice_of(why), SLICE("content can't be read")) ? MAIL_STATUS_UNSURE("The message can't be read")
			: MAIL_STATUS(MAIL_NEVER, 554, 6, 0, "Bare CR, bare LF or NUL in content"));
	else
		client_end(c, CLIENT_CLOSED, client_lost(slice_of(why)));
	let_go(c);
}

static void on_data(void *arg, struct conn *conn)
{
	struct client *c = arg;
	hold(c);
	if (c->script)
		script_data(c->script);
	if (c->tls_due && !c->ended) {
		c->tls_due = false;
		conn_set_timeout(conn, TLS_MS);
		if (conn_start_tls(conn, c->context, buf_slice(&c->host)) < 0) /* S2: bytes behind the 220 */
			client_end(c, CLIENT_TLS_FAILED, client_lost(SLICE("TLS could not be started")));
	}
	let_go(c);
}

static void on_event(void *arg, struct conn *conn, enum conn_event what)
{
	struct client *c = arg;
	hold(c);
	switch (what) {
	case CONN_CONNECTED:
		break;
	case CONN_TLS_READY:
		conn_set_timeout(conn, 0);
		c->offer = (struct client_offer){ 0 }; /* 3207, 4.2: what was said before is forgotten */
		client_say_ehlo(c);
		break;
	case CONN_TLS_FAILED:
		client_end(c, CLIENT_TLS_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 5 }, conn_error(conn) });
		break;
	case CONN_CLOSED:
		client_end(c, CLIENT_CLOSED, client_lost(SLICE("The next hop closed the connection")));
		break;
	case CONN_FAILED:
	case CONN_TIMEOUT:
		client_end(c, CLIENT_CLOSED, client_lost(conn_error(conn)));
		break;
	}
	let_go(c);
}

static void on_drained(void *arg, struct conn *conn)
{
	struct client *c = arg;
	(void)conn;
	hold(c);
	if (c->script)
		script_drained(c->script);
	let_go(c);
}

struct client *client_new(struct loop *l, const struct client_plan *p, const struct client_handler *h, void *arg)
{
	static const struct conn_limits limits = { MAX_INPUT, MAX_OUTPUT };
	static const struct conn_handler conn_handler = { on_data, on_event, on_drained };
	static const struct script_handler script_handler = { on_script_end };
	struct client *c = MEM_NEW(struct client);
	*c = (struct client){ .loop = l, .handler = h, .arg = arg, .lmtp = p->lmtp, .tls = p->tls, .context = p->context ? tls_hold(p->context) : NULL };
	keep(&c->helo, p->helo), keep(&c->host, p->host), keep(&c->login, p->login), keep(&c->password, p->password);
	c->conn = conn_new(l, p->fd, &limits, &conn_handler, c);
	c->script = script_new(l, c->conn, &script_handler, c);
	client_await_greeting(c);
	return c;
}

void client_own(struct client *c, const struct client_handler *h, void *arg)
{
	c->handler = h;
	c->arg = arg;
}

static void quit_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	(void)arg, (void)index, (void)good, (void)r;
}

/* Its reply is not waited for: a server that is told QUIT and sees the end has all it needs. */
void client_quit(struct client *c)
{
	if (!c || c->freed)
		return;
	if ((!c->ended || c->hears) && script_is_idle(c->script)) {
		script_add(c->script, &(struct script_row){ .command = SLICE("QUIT"), .hopes = 2, .alone = true, .timeout_ms = QUIT_MS, .on_reply = quit_answered });
		script_go(c->script);
		script_free(c->script);
		conn_finish(c->conn, QUIT_MS);
		c->script = NULL;
		c->conn = NULL;
	}
	client_free(c);
}

/* -- transactions -------------------------------------------------------------------------------------------------------------------- */

static bool says_goodbye(struct client *c, const struct mail_reply *r)
{
	if (r->code == 221)
		client_end(c, CLIENT_CLOSED, client_lost(SLICE("A goodbye that nobody asked for")));
	return r->code == 221;
}

static void tell(struct client *c, enum client_step step, size_t index, const struct mail_reply *r)
{
	if (client_is_greeted_again(c, r) || says_goodbye(c, r))
		return;
	c->handler->on_reply(c->arg, c, step, index, r);
}

static void mail_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	(void)good;
	tell(arg, CLIENT_MAIL, index, r);
}

void client_mail(struct client *c, const struct client_mail *m)
{
	struct buf line = BUF_INIT(MAX_COMMAND);
	c->accepted = c->replies = 0;
	c->body_begun = false;
	c->prdr_asked = m->prdr && c->offer.prdr;
	c->utf8_said = m->utf8 && c->offer.utf8;
	c->served++;
	client_offer_mail(&line, m, &c->offer);
	client_add(c, buf_slice(&line), 2, false, MAIL_MS, mail_answered, 0);
	buf_free(&line);
}

static void rcpt_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	c->accepted += good;
	tell(c, CLIENT_RCPT, index, r);
}

void client_rcpt(struct client *c, size_t index, struct slice address, struct slice original, unsigned notify)
{
	struct buf line = BUF_INIT(MAX_COMMAND);
	client_offer_rcpt(&line, address, original, notify, c->utf8_said, &c->offer);
	client_add(c, buf_slice(&line), 2, false, RCPT_MS, rcpt_answered, index);
	buf_free(&line);
}

/* Behind a 354 nothing may come before our content: what does is no answer to it (security-kit S2, of another command). */
static void data_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	if (good && script_input_left(c->script))
		client_end(c, CLIENT_CLOSED, client_lost(SLICE("Bytes behind the reply to DATA")));
	else
		tell(c, CLIENT_DATA, index, r);
}

void client_data(struct client *c)
{
	client_add(c, SLICE("DATA"), 3, true, DATA_MS, data_answered, 0);
}

static void content_answered(void *arg, size_t index, bool good, const struct mail_reply *r);

static void wait_for_more(struct client *c, size_t from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		client_add(c, SLICE_NONE, 2, false, DOT_MS, content_answered, from + i);
}

/* PRDR: 353, then one for each recipient, then one for all (draft of Exim, section 4). */
static void content_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)good;
	if (c->prdr_asked && r->code == 353 && c->replies == 0) {
		c->prdr_asked = false;
		wait_for_more(c, 0, c->accepted + 1);
		return;
	}
	c->replies++;
	tell(c, CLIENT_CONTENT_REPLY, index, r);
}

void client_body(struct client *c, struct body *b)
{
	struct script_row row = { .body = b, .dot = true, .hopes = 2, .alone = true, .timeout_ms = DOT_MS, .on_reply = content_answered };
	if (b) {
		body_begin(b, true);
		c->body_begun = true;
	} else {
		row = (struct script_row){ .command = SLICE("."), .hopes = 2, .alone = true, .timeout_ms = DOT_MS, .on_reply = content_answered };
	}
	script_add(c->script, &row);
	if (c->lmtp && c->accepted > 1)
		wait_for_more(c, 1, c->accepted - 1); /* 2033, 4.2 */
}

void client_chunks(struct client *c, struct body *b)
{
	char line[48];
	int n = snprintf(line, sizeof line, "BDAT %llu LAST", (unsigned long long)body_length(b));
	body_begin(b, false);
	c->body_begun = true;
	script_add(c->script, &(struct script_row){ .command = slice(line, (size_t)n), .body = b, .hopes = 2, .alone = true, .timeout_ms = DOT_MS,
		.on_reply = content_answered });
}

static void reset_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	(void)good;
	tell(arg, CLIENT_RESET, index, r);
}

void client_reset(struct client *c)
{
	c->accepted = 0;
	client_add(c, SLICE("RSET"), 2, false, MAIL_MS, reset_answered, 0);
}

void client_go(struct client *c)
{
	hold(c);
	if (!c->ended)
		script_go(c->script);
	let_go(c);
}

void client_unsay(struct client *c)
{
	if (!c->ended)
		script_unsay(c->script);
}

/* -- facts ---------------------------------------------------------------------------------------------------------------------------- */

const struct client_offer *client_offer(const struct client *c)
{
	return &c->offer;
}

const struct tls_info *client_tls_info(const struct client *c)
{
	return c->conn ? conn_tls_info(c->conn) : NULL;
}

bool client_is_lmtp(const struct client *c)
{
	return c->lmtp;
}

bool client_is_idle(const struct client *c)
{
	return c->ready && !c->ended && script_is_idle(c->script);
}

bool client_may_settle(const struct client *c)
{
	return c->ready && !c->ended && (script_is_idle(c->script) || !c->body_begun);
}

bool client_dot_sent(const struct client *c)
{
	return c->body_begun && c->script && script_body_sent(c->script);
}

bool client_utf8_said(const struct client *c)
{
	return c->utf8_said;
}

unsigned client_served(const struct client *c)
{
	return c->served;
}
