/* A client's way to being ready: greeting, EHLO (HELO where that is not known), STARTTLS and EHLO again, AUTH. The functions below are its rows' on_reply, the last one first. */
#include "delivery/client_inside.h"

#include "base/mem.h"
#include "base/text.h"
#include "delivery/client_offer.h"

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
		s = (struct mail_status){ MAIL_LATER, 451, { 7, 8 }, s.text };
		if (r->code / 100 == 3) /* it wants more: QUIT would be an answer */
			client_end(c, CLIENT_AUTH_FAILED, s);
		else
			client_end_heard(c, CLIENT_AUTH_FAILED, s);
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
		client_add(c, buf_slice(&line), 3, true, MAIL_MS, login_named, 1);
	else
		client_add(c, buf_slice(&line), 2, true, MAIL_MS, authenticated, 0);
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
		client_add(c, buf_slice(&line), 2, true, MAIL_MS, authenticated, 0);
	} else if (c->offer.auth_login) {
		client_add(c, SLICE("AUTH LOGIN"), 3, true, MAIL_MS, login_named, 0);
	} else {
		client_end_heard(c, CLIENT_AUTH_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 4 }, SLICE("The next hop offers no AUTH that we know") });
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
		client_add(c, SLICE("STARTTLS"), 2, true, TLS_MS, tls_answered, 0);
		return;
	}
	if (!over_tls && c->tls == CLIENT_TLS_MUST)
		client_end_heard(c, CLIENT_TLS_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 10 }, SLICE("The next hop offers no TLS, which we must have") });
	else if (c->login.n && c->password.n && over_tls)
		authenticate(c);
	else if (c->login.n && c->password.n)
		client_end_heard(c, CLIENT_AUTH_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 11 }, SLICE("The next hop offers no TLS, and we show no password without") });
	else
		tell_ready(c);
}

static void tls_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)index;
	if (good && script_input_left(c->script)) { /* NO STARTTLS: whoever sent that is not the one we'd talk to inside */
		client_end(c, CLIENT_TLS_FAILED, client_lost(SLICE("Bytes behind the reply to STARTTLS")));
	} else if (good) {
		c->tls_due = true;
	} else if (r->code == 421) { /* it shuts down, which the script tells next: nothing more is said to it */
		return;
	} else if (c->tls == CLIENT_TLS_MUST) {
		struct arena mem = ARENA_INIT(16384);
		struct mail_status s = mail_reply_status(r, &mem);
		client_end_heard(c, CLIENT_TLS_FAILED, (struct mail_status){ MAIL_LATER, 451, { 7, 10 }, s.text });
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
	if (client_is_greeted_again(c, r))
		return;
	if (good)
		go_on(c);
	else
		client_end_refused(c, r);
}

static void say(struct client *c, struct slice verb, void (*on_reply)(void *, size_t, bool, const struct mail_reply *))
{
	struct buf line = BUF_INIT(MAX_COMMAND);
	buf_add(&line, verb);
	buf_add(&line, buf_slice(&c->helo));
	client_add(c, buf_slice(&line), 2, true, EHLO_MS, on_reply, 0);
	buf_free(&line);
}

static void ehlo_answered(void *arg, size_t index, bool good, const struct mail_reply *r)
{
	struct client *c = arg;
	(void)index;
	if (client_is_greeted_again(c, r))
		return;
	if (good) {
		client_offer_read(r, &c->offer);
		go_on(c);
	} else if (r->code / 100 == 5 && !c->lmtp && !conn_is_tls(c->conn)) {
		say(c, SLICE("HELO "), helo_answered); /* 5321, 3.2: an old one */
	} else {
		client_end_refused(c, r);
	}
}

void client_say_ehlo(struct client *c)
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
		client_end_refused(c, r);
}

void client_await_greeting(struct client *c)
{
	script_add(c->script, &(struct script_row){ .hopes = 2, .alone = true, .timeout_ms = GREETING_MS, .on_reply = greeted });
	script_go(c->script);
}
