/* The client's way: greeting, EHLO (HELO where that is not known), STARTTLS and EHLO again, AUTH, then transactions. Each step is a row of its script;
 * the functions below are the rows' on_reply, in the order in which they happen. */
#include "delivery/client.h"

#include <stdio.h>

#include "base/conn.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/tls.h"
#include "delivery/client_offer.h"
#include "delivery/script.h"

/* RFC 5321, 4.5.3.2 */
enum {
	GREETING_MS = 300000, EHLO_MS = 300000, TLS_MS = 120000, MAIL_MS = 300000, RCPT_MS = 300000, DATA_MS = 120000, DOT_MS = 600000, QUIT_MS = 2000,
	MAX_INPUT = 68 << 10, MAX_OUTPUT = 16 << 20, MAX_COMMAND = 8192, CHUNK = BODY_PIECE
};

struct client {
	struct loop *loop;
	struct conn *conn;
	struct script *script;
	const struct client_handler *handler;
	void *arg;
	bool lmtp, ready, ended, freed, tls_due, prdr_asked;
	unsigned busy, served;
	enum client_tls tls;
	struct tls_context *context;
	struct buf helo, host, login, password;
	struct client_offer offer;
	size_t accepted, replies;      /* recipients taken; of the content's replies, how many came */
	bool body_begun;
	struct body *body;             /* of BDAT from a file */
};

static void greeted(void *arg, size_t index, bool good, const struct mail_reply *r);
static void say_ehlo(struct client *c);

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

static void end(struct client *c, enum client_end how, struct mail_status s)
{
	if (c->ended)
		return;
	c->ended = true;
	c->handler->on_end(c->arg, c, how, s);
}

static struct mail_status lost(struct slice text)
{
	return (struct mail_status){ MAIL_LATER, 451, { 4, 2 }, text };
}

static void end_refused(struct client *c, const struct mail_reply *r)
{
	struct arena mem = ARENA_INIT(16384);
	struct mail_status s = mail_reply_status(r, &mem);
	if (s.code != 521) { /* a greeting says nothing about a recipient, save that this host never takes mail (RFC 7504) */
		s.fate = MAIL_LATER;
		s.code = s.code / 100 == 4 ? s.code : 451;
		s.enhanced[0] = 4;
		s.enhanced[1] = s.code == 421 ? 2 : 1;
	}
	end(c, CLIENT_REFUSED, s);
	arena_free(&mem);
}

static void on_script_end(void *arg, enum script_end how, const char *why, const struct mail_reply *r)
{
	struct client *c = arg;
	hold(c);
	if (how == SCRIPT_SHUTDOWN)
		end_refused(c, r);
	else if (how == SCRIPT_BODY)
		end(c, CLIENT_CONTENT, slice_eq(slice_of(why), SLICE("content can't be read")) ? MAIL_STATUS_UNSURE("The message can't be read")
			: MAIL_STATUS(MAIL_NEVER, 554, 6, 0, "Bare CR, bare LF or NUL in content"));
	else
		end(c, CLIENT_CLOSED, lost(slice_of(why)));
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
			end(c, CLIENT_TLS_FAILED, lost(SLICE("TLS could not be started")));
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
		say_ehlo(c);
		break;
	case CONN_TLS_FAILED:
		end(c, CLIENT_TLS_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 5 }, conn_error(conn) });
		break;
	case CONN_CLOSED:
		end(c, CLIENT_CLOSED, lost(SLICE("The next hop closed the connection")));
		break;
	case CONN_FAILED:
	case CONN_TIMEOUT:
		end(c, CLIENT_CLOSED, lost(conn_error(conn)));
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
	script_add(c->script, &(struct script_row){ .hopes = 2, .alone = true, .timeout_ms = GREETING_MS, .on_reply = greeted });
	script_go(c->script);
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

/* Nothing is waited for: a server that is told QUIT and sees the end has all it needs. */
void client_quit(struct client *c)
{
	if (!c || c->freed)
		return;
	if (!c->ended && script_is_idle(c->script)) {
		script_add(c->script, &(struct script_row){ .command = SLICE("QUIT"), .hopes = 2, .alone = true, .timeout_ms = QUIT_MS, .on_reply = quit_answered });
		script_go(c->script);
		script_free(c->script);
		conn_finish(c->conn, QUIT_MS);
		c->script = NULL;
		c->conn = NULL;
	}
	client_free(c);
}

/* -- the way to being ready ---------------------------------------------------------------------------------------------------------- */

static void add(struct client *c, struct slice command, unsigned hopes, bool alone, uint64_t ms,
                void (*on_reply)(void *, size_t, bool, const struct mail_reply *), size_t index)
{
	script_add(c->script, &(struct script_row){ .command = command, .hopes = hopes, .alone = alone, .timeout_ms = ms, .on_reply = on_reply, .index = index });
}

static void tell_ready(struct client *c)
{
	c->ready = true;
	script_pipeline(c->script, c->offer.pipelining);
	c->handler->on_ready(c->arg, c);
}

static void authenticated(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	struct arena mem = ARENA_INIT(16384);
	(void)index;
	if (good) {
		tell_ready(c);
	} else { /* our password is our own affair: the sender hears no 5xx for it */
		struct mail_status s = mail_reply_status(r, &mem);
		end(c, CLIENT_AUTH_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 8 }, s.text });
	}
	arena_free(&mem);
}

/* A failure half-way (no 334) is the reply to all of it. */
static void login_named(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	struct buf line = BUF_INIT(MAX_COMMAND);
	if (!good) {
		authenticated(c, 0, false, r);
		return;
	}
	text_add_base64(&line, buf_slice(index == 0 ? &c->login : &c->password));
	if (index == 0)
		add(c, buf_slice(&line), 3, true, MAIL_MS, login_named, 1);
	else
		add(c, buf_slice(&line), 2, true, MAIL_MS, authenticated, 0);
	mem_wipe(line.p, line.n);
	buf_free(&line);
}

static void authenticate(struct client *c)
{
	struct buf secret = BUF_INIT(MAX_COMMAND), line = BUF_INIT(MAX_COMMAND);
	if (c->offer.auth_plain) {
		buf_add_byte(&secret, '\0');
		buf_add(&secret, buf_slice(&c->login));
		buf_add_byte(&secret, '\0');
		buf_add(&secret, buf_slice(&c->password));
		buf_add(&line, SLICE("AUTH PLAIN "));
		text_add_base64(&line, buf_slice(&secret));
		add(c, buf_slice(&line), 2, true, MAIL_MS, authenticated, 0);
	} else if (c->offer.auth_login) {
		add(c, SLICE("AUTH LOGIN"), 3, true, MAIL_MS, login_named, 0);
	} else {
		end(c, CLIENT_AUTH_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 4 }, SLICE("The next hop offers no AUTH that we know") });
	}
	mem_wipe(secret.p, secret.n);
	mem_wipe(line.p, line.n);
	buf_free(&secret);
	buf_free(&line);
}

static void tls_answered(void *arg, size_t index, bool good, const struct mail_reply *r);

/* EHLO is answered: TLS if it is still due, AUTH if we have a password and nobody listens, else ready. */
static void go_on(struct client *c)
{
	bool over_tls = conn_is_tls(c->conn);
	if (!over_tls && c->tls != CLIENT_TLS_NEVER && c->offer.starttls && c->context) {
		add(c, SLICE("STARTTLS"), 2, true, TLS_MS, tls_answered, 0);
		return;
	}
	if (!over_tls && c->tls == CLIENT_TLS_MUST)
		end(c, CLIENT_TLS_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 10 }, SLICE("The next hop offers no TLS, which we must have") });
	else if (c->login.n && c->password.n && over_tls)
		authenticate(c);
	else if (c->login.n && c->password.n)
		end(c, CLIENT_AUTH_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 11 }, SLICE("The next hop offers no TLS, and we show no password without") });
	else
		tell_ready(c);
}

static void tls_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)index;
	if (good && script_input_left(c->script)) { /* NO STARTTLS: whoever sent that is not the one we'd talk to inside */
		end(c, CLIENT_TLS_FAILED, lost(SLICE("Bytes behind the reply to STARTTLS")));
	} else if (good) {
		c->tls_due = true;
	} else if (c->tls == CLIENT_TLS_MUST) {
		struct arena mem = ARENA_INIT(16384);
		struct mail_status s = mail_reply_status(r, &mem);
		end(c, CLIENT_TLS_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 10 }, s.text });
		arena_free(&mem);
	} else {
		c->tls = CLIENT_TLS_NEVER;
		go_on(c);
	}
}

static void helo_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)index;
	c->offer = (struct client_offer){ 0 };
	if (good)
		go_on(c);
	else
		end_refused(c, r);
}

static void say(struct client *c, struct slice verb, void (*on_reply)(void *, size_t, bool, const struct mail_reply *))
{
	struct buf line = BUF_INIT(MAX_COMMAND);
	buf_add(&line, verb);
	buf_add(&line, buf_slice(&c->helo));
	add(c, buf_slice(&line), 2, true, EHLO_MS, on_reply, 0);
	buf_free(&line);
}

static void ehlo_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)index;
	if (good) {
		client_offer_read(r, &c->offer);
		go_on(c);
	} else if (r->code / 100 == 5 && !c->lmtp && !conn_is_tls(c->conn)) {
		say(c, SLICE("HELO "), helo_answered); /* 5321, 3.2: an old one */
	} else {
		end_refused(c, r);
	}
}

static void say_ehlo(struct client *c)
{
	say(c, c->lmtp ? SLICE("LHLO ") : SLICE("EHLO "), ehlo_answered);
	script_go(c->script);
}

static void greeted(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)index;
	if (good && r->code == 220)
		say(c, c->lmtp ? SLICE("LHLO ") : SLICE("EHLO "), ehlo_answered);
	else
		end_refused(c, r);
}

/* -- transactions -------------------------------------------------------------------------------------------------------------------- */

static void tell(struct client *c, enum client_step step, size_t index, const struct mail_reply *r)
{
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
	c->served++;
	client_offer_mail(&line, m, &c->offer);
	add(c, buf_slice(&line), 2, false, MAIL_MS, mail_answered, 0);
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
	client_offer_rcpt(&line, address, original, notify, &c->offer);
	add(c, buf_slice(&line), 2, false, RCPT_MS, rcpt_answered, index);
	buf_free(&line);
}

static void data_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	(void)good;
	tell(arg, CLIENT_DATA, index, r);
}

void client_data(struct client *c)
{
	add(c, SLICE("DATA"), 3, true, DATA_MS, data_answered, 0);
}

static void content_answered(void *arg, size_t index, bool good, const struct mail_reply *r);

static void wait_for_more(struct client *c, size_t from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add(c, SLICE_NONE, 2, false, DOT_MS, content_answered, from + i);
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
	add(c, SLICE("RSET"), 2, false, MAIL_MS, reset_answered, 0);
}

void client_go(struct client *c)
{
	hold(c);
	if (!c->ended)
		script_go(c->script);
	let_go(c);
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

bool client_dot_sent(const struct client *c)
{
	return c->body_begun && c->script && script_body_sent(c->script);
}

size_t client_accepted(const struct client *c)
{
	return c->accepted;
}

unsigned client_served(const struct client *c)
{
	return c->served;
}

int client_fd(const struct client *c)
{
	return c->conn ? conn_fd(c->conn) : -1;
}
