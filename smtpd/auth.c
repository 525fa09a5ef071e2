/* SASL exchanges: a table of mechanisms, each a function that takes the client's decoded message. Who somebody is, is asked of the process `login`. */
#include "smtpd/auth.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/login_proto.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/tls.h"
#include "maps/clients.h"
#include "smtpd/auth_scram.h"
#include "smtpd/harvest.h"
#include "smtpd/login_settings.h"
#include "smtpd/peer.h"

enum { EXCHANGE_MEM = 64 << 10, ASK_MS = 30000 };

struct mechanism;
struct auth {
	struct smtpd *d;
	const struct session_facts *facts;
	const struct tls_info *tls;
	void (*done)(void *arg, enum auth_step step);
	void *arg;
	const struct mechanism *mechanism;
	unsigned step;                 /* messages taken */
	struct arena mem;              /* of one exchange */
	struct buf text, payload;      /* secrets pass through payload: wiped */
	uint16_t type;
	struct slice login;
	struct scram scram;
	struct peer_question *question;
	struct loop_timer *timer;
	enum auth_step late;           /* told by the timer; AUTH_WAIT: it is time to ask */
};

struct mechanism {
	struct slice name;
	enum auth_step (*take)(struct auth *a, struct slice message);
	bool (*offered)(const struct session_facts *f, const struct tls_info *tls);
	const char *server_first;      /* NULL: the client begins */
};

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

static void count(struct auth *a, bool good)
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

static void forget_payload(struct auth *a)
{
	if (a->payload.p)
		mem_wipe(a->payload.p, a->payload.cap);
	buf_free(&a->payload);
}

static void say(struct auth *a, struct slice message)
{
	buf_clear(&a->text);
	text_add_base64(&a->text, message);
}

static void log_end(struct auth *a, const char *word, struct slice why)
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
		say(a, a->scram.server_first);
		return AUTH_CHALLENGE;
	}
	if (r->answer == UNSURE) {
		log_end(a, "auth-unsure", r->why);
		return AUTH_UNSURE;
	}
	count(a, r->answer == FOUND);
	if (r->answer == ABSENT) {
		log_end(a, "auth-failed", r->why);
		if (a->type != LOGIN_TOKEN)
			return AUTH_FAILED;
		say(a, SLICE("{\"status\":\"invalid_token\"}")); /* RFC 7628, 3.2.2: the client answers this with one byte, then hears 535 */
		return AUTH_CHALLENGE;
	}
	a->login = text_lower(&a->mem, r->name.n ? r->name : a->login);
	log_end(a, "auth", SLICE_NONE);
	if (a->type != LOGIN_SCRAM_FINAL)
		return AUTH_GOOD;
	struct buf v = BUF_INIT(128);
	buf_add_cstr(&v, "v=");
	text_add_base64(&v, r->proof);
	say(a, buf_slice(&v));
	buf_free(&v);
	return AUTH_CHALLENGE; /* RFC 4954, 4: answered by an empty line, then 235 */
}

static int answered(void *arg, struct ipc_message *m)
{
	struct auth *a = arg;
	struct login_answer r;
	a->question = NULL;
	forget_payload(a);
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
	forget_payload(a);
	log_end(a, "auth-unsure", SLICE("the login process is not there"));
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

static enum auth_step ask(struct auth *a, uint16_t type, struct login_question *q)
{
	uint64_t ms;
	q->name = a->login;
	q->ip = slice_of(a->facts->ip_text);
	a->type = type;
	if (a->login.n > LOGIN_MAX_NAME || q->secret.n > LOGIN_MAX_SECRET || q->message.n > LOGIN_MAX_MESSAGE)
		return AUTH_FAILED;
	enum harvest_level level = standing(a, &ms);
	if (level >= HARVEST_BLIND) {
		log_end(a, "auth-refused", SLICE("too many failed attempts"));
		return later(a, ms, AUTH_UNSURE);
	}
	forget_payload(a);
	login_question_add(&a->payload, q);
	return ms && type != LOGIN_SCRAM_FIRST ? later(a, ms, AUTH_WAIT) : send_question(a);
}

/* -- PLAIN, LOGIN -------------------------------------------------------------------------------------------------------------------------- */

/* RFC 4616: authzid NUL authcid NUL password. Acting for somebody else is not a thing here. */
static enum auth_step take_plain(struct auth *a, struct slice message)
{
	struct slice rest = message, authzid = slice_cut(rest, '\0', &rest);
	if (!rest.p)
		return AUTH_SYNTAX;
	struct slice name = slice_cut(rest, '\0', &rest);
	if (!rest.p || slice_find(rest, '\0') < rest.n || !name.n || !rest.n)
		return AUTH_SYNTAX;
	a->login = arena_copy(&a->mem, name);
	if (authzid.n && !slice_eq_nocase(authzid, name)) {
		count(a, false);
		return AUTH_FAILED;
	}
	struct login_question q = { .secret = rest };
	return ask(a, LOGIN_PASSWORD, &q);
}

static enum auth_step take_login(struct auth *a, struct slice message)
{
	if (a->step == 1) {
		a->login = arena_copy(&a->mem, message);
		say(a, SLICE("Password:"));
		return message.n ? AUTH_CHALLENGE : AUTH_SYNTAX;
	}
	struct login_question q = { .secret = message };
	return message.n && slice_find(message, '\0') == message.n ? ask(a, LOGIN_PASSWORD, &q) : AUTH_SYNTAX;
}

/* -- SCRAM ------------------------------------------------------------------------------------------------------------------------------ */

static bool is_plus(const struct auth *a)
{
	return slice_ends(a->mechanism->name, SLICE("-PLUS"));
}

static bool binding_offered(const struct session_facts *f, const struct tls_info *tls);

static enum auth_step take_scram_first(struct auth *a, struct slice message)
{
	if (!scram_read_first(&a->scram, message, &a->mem))
		return AUTH_SYNTAX;
	bool bound = a->scram.binding == SCRAM_EXPORTER || a->scram.binding == SCRAM_END_POINT;
	a->login = a->scram.name;
	/* RFC 5802, 6: "y" although we offer a binding: somebody took our offer out of the EHLO reply. */
	if (bound != is_plus(a) || (a->scram.binding == SCRAM_CLIENT_THINKS_NOT && binding_offered(a->facts, a->tls)) ||
	    (a->scram.authzid.n && !slice_eq_nocase(a->scram.authzid, a->scram.name))) {
		count(a, false);
		log_end(a, "auth-failed", SLICE("channel binding or identity doesn't fit"));
		return AUTH_FAILED;
	}
	struct login_question q = { .name = SLICE_NONE };
	return ask(a, LOGIN_SCRAM_FIRST, &q);
}

static enum auth_step take_scram_final(struct auth *a, struct slice message)
{
	struct buf data = BUF_INIT(128);
	uint8_t exporter[32];
	bool good = true;
	if (a->scram.binding == SCRAM_EXPORTER)
		good = tls_binding_exporter(a->tls, exporter) && buf_add(&data, slice((const char *)exporter, sizeof exporter)) == 0;
	else if (a->scram.binding == SCRAM_END_POINT)
		good = tls_binding_end_point(a->tls, &data);
	good = good && scram_read_final(&a->scram, message, buf_slice(&data), &a->mem);
	buf_free(&data);
	if (!good) {
		count(a, false);
		log_end(a, "auth-failed", SLICE("wrong nonce, channel binding or form"));
		return AUTH_FAILED;
	}
	struct login_question q = { .secret = a->scram.proof, .message = a->scram.auth_message };
	return ask(a, LOGIN_SCRAM_FINAL, &q);
}

static enum auth_step take_scram(struct auth *a, struct slice message)
{
	if (a->step == 1)
		return take_scram_first(a, message);
	if (a->step == 2)
		return take_scram_final(a, message);
	return message.n ? AUTH_SYNTAX : AUTH_GOOD; /* the empty line behind our v= */
}

/* -- bearer tokens -------------------------------------------------------------------------------------------------------------------------- */

/* Fields between \1, ended by two of them; RFC 7628, 3.1, and Google's older form without the gs2 header. */
static bool read_bearer(struct slice fields, struct slice *user, struct slice *token)
{
	while (fields.p && fields.n) {
		struct slice field = slice_cut(fields, '\1', &fields);
		if (slice_starts(field, SLICE("user=")) && user)
			*user = slice_skip(field, 5);
		else if (slice_starts_nocase(field, SLICE("auth=Bearer ")))
			*token = slice_trim(slice_skip(field, 12));
	}
	return token->n > 0;
}

static enum auth_step take_token(struct auth *a, struct slice user, struct slice token)
{
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] < 0x21 || token.p[i] > 0x7e)
			return AUTH_SYNTAX;
	a->login = arena_copy(&a->mem, user);
	struct login_question q = { .secret = token };
	return ask(a, LOGIN_TOKEN, &q);
}

static enum auth_step take_oauthbearer(struct auth *a, struct slice message)
{
	struct slice rest = message, token = SLICE_NONE, flag, authzid;
	if (a->step > 1)
		return AUTH_FAILED; /* its word to our error */
	flag = slice_cut(rest, ',', &rest);
	authzid = slice_cut(rest, ',', &rest);
	if (!slice_eq(flag, SLICE("n")) || !rest.p || (authzid.n && !slice_starts(authzid, SLICE("a="))) || !read_bearer(slice_skip(rest, 1), NULL, &token))
		return AUTH_SYNTAX;
	return take_token(a, slice_skip(authzid, 2), token);
}

static enum auth_step take_xoauth2(struct auth *a, struct slice message)
{
	struct slice user = SLICE_NONE, token = SLICE_NONE;
	if (a->step > 1)
		return AUTH_FAILED;
	return read_bearer(message, &user, &token) && user.n ? take_token(a, user, token) : AUTH_SYNTAX;
}

/* -- EXTERNAL -------------------------------------------------------------------------------------------------------------------------------- */

/* The certificate must stand in `clients`. It may be any login of a domain that its line names; without one it is "sha256:...", for a line of `senders`. */
static enum auth_step take_external(struct auth *a, struct slice message)
{
	static const struct net_ip nowhere; /* what the address may is not asked here */
	struct buf hex = BUF_INIT(128);
	buf_add_cstr(&hex, "sha256:");
	text_add_hex(&hex, slice((const char *)a->tls->peer_sha256, sizeof a->tls->peer_sha256));
	struct slice print = slice_skip(arena_copy(&a->mem, buf_slice(&hex)), 7), domain = slice_skip(message, slice_rfind(message, '@') + 1);
	buf_free(&hex);
	a->login = message.n ? text_lower(&a->mem, message) : slice(print.p - 7, print.n + 7);
	enum answer found = !a->d->maps ? UNSURE : message.n ? clients_may_speak(a->d->maps, &nowhere, print, domain, &a->mem, NULL) :
	                    clients_known(a->d->maps, &nowhere, print, &a->mem);
	if (message.n > LOGIN_MAX_NAME || (message.n && !domain.n))
		found = ABSENT;
	if (found == UNSURE)
		return AUTH_UNSURE;
	count(a, found == FOUND);
	log_end(a, found == FOUND ? "auth" : "auth-failed", found == FOUND ? SLICE_NONE : SLICE("the certificate is not listed for this"));
	return found == FOUND ? AUTH_GOOD : AUTH_FAILED;
}

/* -- the table ------------------------------------------------------------------------------------------------------------------------------- */

static bool has_passwords(const struct session_facts *f, const struct tls_info *tls)
{
	(void)f;
	return tls != NULL;
}

static bool has_verifiers(const struct session_facts *f, const struct tls_info *tls)
{
	(void)f;
	return tls && slice_eq(login_settings.source, SLICE("credentials"));
}

static bool is_allowed(struct slice name)
{
	for (struct slice rest = login_settings.mechanisms; rest.n;)
		if (slice_eq(slice_cut(rest, ' ', &rest), name))
			return true;
	return false;
}

static bool has_binding(const struct session_facts *f, const struct tls_info *tls)
{
	return has_verifiers(f, tls); /* tls-server-end-point is always there */
}

static bool binding_offered(const struct session_facts *f, const struct tls_info *tls)
{
	return has_binding(f, tls) && is_allowed(SLICE("SCRAM-SHA-256-PLUS"));
}

static bool has_tokens(const struct session_facts *f, const struct tls_info *tls)
{
	(void)f;
	return tls && login_settings.token_verifier.n;
}

static bool has_certificate(const struct session_facts *f, const struct tls_info *tls)
{
	(void)f;
	return tls && tls->has_peer;
}

static const struct mechanism mechanisms[] = {
	{ SLICE_INIT("SCRAM-SHA-256-PLUS"), take_scram, has_binding, NULL },
	{ SLICE_INIT("SCRAM-SHA-256"), take_scram, has_verifiers, NULL },
	{ SLICE_INIT("PLAIN"), take_plain, has_passwords, NULL },
	{ SLICE_INIT("LOGIN"), take_login, has_passwords, "Username:" },
	{ SLICE_INIT("OAUTHBEARER"), take_oauthbearer, has_tokens, NULL },
	{ SLICE_INIT("XOAUTH2"), take_xoauth2, has_tokens, NULL },
	{ SLICE_INIT("EXTERNAL"), take_external, has_certificate, NULL },
};
enum { MECHANISMS = sizeof mechanisms / sizeof mechanisms[0] };

void auth_add_mechanisms(const struct session_facts *facts, const struct tls_info *tls, struct buf *out)
{
	for (size_t i = 0; i < MECHANISMS; i++)
		if (is_allowed(mechanisms[i].name) && mechanisms[i].offered(facts, tls)) {
			buf_add_byte(out, ' ');
			buf_add(out, mechanisms[i].name);
		}
}

/* -- driving ------------------------------------------------------------------------------------------------------------------------------ */

struct auth *auth_new(struct smtpd *d, const struct session_facts *facts, const struct tls_info *tls,
                      void (*done)(void *arg, enum auth_step step), void *arg)
{
	struct auth *a = MEM_NEW(struct auth);
	*a = (struct auth){ .d = d, .facts = facts, .tls = tls, .done = done, .arg = arg };
	a->mem.max = EXCHANGE_MEM;
	buf_init(&a->text, EXCHANGE_MEM);
	buf_init(&a->payload, LOGIN_MAX_PAYLOAD);
	return a;
}

static void stop(struct auth *a)
{
	peer_cancel(a->question);
	a->question = NULL;
	loop_timer_free(a->timer);
	a->timer = NULL;
	forget_payload(a);
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	stop(a);
	buf_free(&a->text);
	arena_free(&a->mem);
	mem_free(a);
}

static enum auth_step take(struct auth *a, struct slice base64)
{
	struct buf message = BUF_INIT(AUTH_MAX_LINE);
	bool good = base64.n <= AUTH_MAX_LINE && (slice_eq(base64, SLICE("=")) || base64.n == 0 || text_base64_decode(base64, &message));
	a->step++;
	enum auth_step step = good ? a->mechanism->take(a, buf_slice(&message)) : AUTH_SYNTAX;
	if (message.p)
		mem_wipe(message.p, message.cap);
	buf_free(&message);
	return step;
}

enum auth_step auth_begin(struct auth *a, struct slice mechanism, struct slice initial)
{
	stop(a);
	arena_reset(&a->mem);
	buf_clear(&a->text);
	a->mechanism = NULL;
	a->login = SLICE_NONE;
	a->step = 0;
	for (size_t i = 0; i < MECHANISMS; i++)
		if (slice_eq_nocase(mechanism, mechanisms[i].name) && is_allowed(mechanisms[i].name) && mechanisms[i].offered(a->facts, a->tls))
			a->mechanism = &mechanisms[i];
	if (!a->mechanism)
		return AUTH_UNKNOWN;
	if (initial.p)
		return take(a, initial);
	if (a->mechanism->server_first)
		say(a, slice_of(a->mechanism->server_first));
	return AUTH_CHALLENGE;
}

enum auth_step auth_input(struct auth *a, struct slice line)
{
	if (slice_eq(line, SLICE("*")))
		return AUTH_CANCELLED;
	buf_clear(&a->text);
	if (slice_eq(line, SLICE("=")))
		return AUTH_SYNTAX; /* "=" is for the command line alone (RFC 4954, 4) */
	return take(a, line);
}

struct slice auth_text(const struct auth *a)
{
	return buf_slice(&a->text);
}

struct slice auth_login(const struct auth *a)
{
	return a->login;
}

struct slice auth_mechanism(const struct auth *a)
{
	return a->mechanism ? a->mechanism->name : SLICE_NONE;
}
