/* What an exchange asks the process `login`, what its answers mean, and how failures are counted. */
#include "smtpd/auth_inside.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "smtpd/harvest.h"

enum { ASK_MS = 30000 };

/* -- failures, counted ------------------------------------------------------------------------------------------------------------------- */

enum { COUNTED_BY_ADDRESS, COUNTED_BY_NETWORK, COUNTED_BY_LOGIN, COUNTED_WAYS };

static struct harvest_who counted(struct auth *a, int way, struct buf *name)
{
	struct net_ip ip = a->facts->ip;
	buf_clear(name);
	if (way == COUNTED_BY_LOGIN) {
		buf_add_cstr(name, "login:");
		buf_add(name, slice_head(a->login, 50));
	} else {
		if (way == COUNTED_BY_NETWORK)
			memset(ip.bytes + (ip.is_v4 ? 15 : 6), 0, ip.is_v4 ? 1 : 10);
		buf_add_cstr(name, way == COUNTED_BY_NETWORK ? "auth-net:" : "auth:");
		net_ip_print(name, &ip);
	}
	return (struct harvest_who){ .ip = a->facts->ip, .domain = buf_slice(name), .exempt = a->facts->exempt };
}

void auth_count(struct auth *a, bool good)
{
	struct buf name = BUF_INIT(128);
	for (int way = 0; a->d->harvest && way < COUNTED_WAYS; way++) {
		struct harvest_who who = counted(a, way, &name);
		if (good)
			harvest_good(a->d->harvest, &who, clock_wall_s());
		else
			harvest_unknown(a->d->harvest, &who, clock_wall_s());
	}
	buf_free(&name);
}

/* How this attempt is to be treated, and how late. A login is never worse than slow: else anybody could lock anybody out. */
static enum harvest_level standing(struct auth *a, uint64_t *delay_ms)
{
	struct buf name = BUF_INIT(128);
	enum harvest_level worst = HARVEST_OPEN;
	*delay_ms = 0;
	for (int way = 0; a->d->harvest && way < COUNTED_WAYS; way++) {
		struct harvest_who who = counted(a, way, &name);
		enum harvest_level level = harvest_level(a->d->harvest, &who, clock_wall_s());
		if (level == HARVEST_OPEN)
			continue;
		uint64_t ms = harvest_delay_ms(a->d->harvest, &who, clock_wall_s());
		*delay_ms = ms > *delay_ms ? ms : *delay_ms;
		level = way == COUNTED_BY_LOGIN ? HARVEST_SLOW : level;
		worst = level > worst ? level : worst;
	}
	buf_free(&name);
	return worst;
}

/* -- asking ----------------------------------------------------------------------------------------------------------------------------- */

void auth_forget_payload(struct auth *a)
{
	if (a->payload.p)
		mem_wipe(a->payload.p, a->payload.cap);
	buf_free(&a->payload);
}

void auth_say(struct auth *a, struct slice message)
{
	buf_clear(&a->text);
	text_add_base64(&a->text, message);
}

void auth_log(struct auth *a, const char *word, struct slice why)
{
	log_event(LOG_INFO, word, LOG_STR("id", unique_slice(&a->facts->id)), LOG_STR("client", slice_of(a->facts->ip_text)),
	          LOG_STR("mechanism", a->mechanism->name), LOG_STR("login", a->login), LOG_STR("reason", why), LOG_END);
}

/* What an answer of the login process means for this mechanism. */
static enum auth_step judged(struct auth *a, const struct login_answer *r)
{
	if (a->type == LOGIN_SCRAM_FIRST) {
		if (r->answer != FOUND || !scram_write_first(&a->scram, r->salt, r->rounds, &a->mem))
			return AUTH_UNSURE;
		auth_say(a, a->scram.server_first);
		return AUTH_CHALLENGE;
	}
	if (r->answer == UNSURE) {
		auth_log(a, "auth-unsure", r->why);
		return AUTH_UNSURE;
	}
	auth_count(a, r->answer == FOUND);
	if (r->answer == ABSENT) {
		auth_log(a, "auth-failed", r->why);
		if (a->type != LOGIN_TOKEN)
			return AUTH_FAILED;
		auth_say(a, SLICE("{\"status\":\"invalid_token\"}")); /* RFC 7628, 3.2.2: the client answers this with one byte, then hears 535 */
		return AUTH_CHALLENGE;
	}
	a->login = text_lower(&a->mem, r->name.n ? r->name : a->login);
	auth_log(a, "auth", SLICE_NONE);
	if (a->type != LOGIN_SCRAM_FINAL)
		return AUTH_GOOD;
	struct buf v = BUF_INIT(128);
	buf_add_cstr(&v, "v=");
	text_add_base64(&v, r->proof);
	auth_say(a, buf_slice(&v));
	buf_free(&v);
	return AUTH_CHALLENGE; /* RFC 4954, 4: answered by an empty line, then 235 */
}

static int answered(void *arg, struct ipc_message *m)
{
	struct auth *a = arg;
	struct login_answer r;
	a->question = NULL;
	auth_forget_payload(a);
	if (m && (m->type != LOGIN_ANSWER || !login_answer_read(m->payload, &r))) {
		a->done(a->arg, AUTH_UNSURE);
		return -EPROTO;
	}
	enum auth_step step = m ? judged(a, &r) : AUTH_UNSURE;
	a->done(a->arg, step);
	return 0;
}

static enum auth_step send_question(struct auth *a)
{
	a->question = a->d->login ? peer_ask(a->d->login, a->type, buf_slice(&a->payload), -1, ASK_MS, answered, a) : NULL;
	if (a->question)
		return AUTH_WAIT;
	auth_forget_payload(a);
	auth_log(a, "auth-unsure", SLICE("the login process is not there"));
	return AUTH_UNSURE;
}

static void timer_fired(void *arg)
{
	struct auth *a = arg;
	enum auth_step step = a->late == AUTH_WAIT ? send_question(a) : a->late;
	if (step != AUTH_WAIT)
		a->done(a->arg, step);
}

static enum auth_step later(struct auth *a, uint64_t ms, enum auth_step what)
{
	if (!a->timer)
		a->timer = loop_timer_new(a->d->loop, timer_fired, a);
	a->late = what;
	loop_timer_set(a->timer, ms);
	return AUTH_WAIT;
}

enum auth_step auth_ask(struct auth *a, uint16_t type, struct login_question *q)
{
	uint64_t ms;
	q->name = a->login;
	q->ip = slice_of(a->facts->ip_text);
	a->type = type;
	if (a->login.n > LOGIN_MAX_NAME || q->secret.n > LOGIN_MAX_SECRET || q->message.n > LOGIN_MAX_MESSAGE)
		return AUTH_FAILED;
	enum harvest_level level = standing(a, &ms);
	if (level >= HARVEST_BLIND) {
		auth_log(a, "auth-refused", SLICE("too many failed attempts"));
		return later(a, ms, AUTH_UNSURE);
	}
	auth_forget_payload(a);
	login_question_add(&a->payload, q);
	return ms && type != LOGIN_SCRAM_FIRST ? later(a, ms, AUTH_WAIT) : send_question(a);
}
