/* SASL exchanges: the table of mechanisms, and what drives them. */
#include "smtpd/auth_inside.h"

#include "base/mem.h"
#include "base/text.h"
#include "smtpd/login_settings.h"

enum { EXCHANGE_MEM = 64 << 10 };

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

bool auth_binding_offered(const struct session_facts *f, const struct tls_info *tls)
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
	{ SLICE_INIT("SCRAM-SHA-256-PLUS"), auth_take_scram, has_binding, NULL },
	{ SLICE_INIT("SCRAM-SHA-256"), auth_take_scram, has_verifiers, NULL },
	{ SLICE_INIT("PLAIN"), auth_take_plain, has_passwords, NULL },
	{ SLICE_INIT("LOGIN"), auth_take_login, has_passwords, "Username:" },
	{ SLICE_INIT("OAUTHBEARER"), auth_take_oauthbearer, has_tokens, NULL },
	{ SLICE_INIT("XOAUTH2"), auth_take_xoauth2, has_tokens, NULL },
	{ SLICE_INIT("EXTERNAL"), auth_take_external, has_certificate, NULL },
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
	auth_forget_payload(a);
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
		auth_say(a, slice_of(a->mechanism->server_first));
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
	return a->mechanism->name;
}
