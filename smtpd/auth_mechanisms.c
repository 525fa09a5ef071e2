/* The mechanisms: each function takes the client's decoded message and says what comes next. */
#include "smtpd/auth_inside.h"

#include "base/text.h"
#include "maps/clients.h"
#include "maps/saslprep.h"

/* -- names --------------------------------------------------------------------------------------------------------------------------------- */

static struct slice prepared(struct auth *a, struct slice name)
{
	struct buf b = BUF_INIT(LOGIN_MAX_NAME);
	struct slice out = saslprep_add(name, SASLPREP_QUERY, &b) ? SLICE_NONE : arena_copy(&a->mem, buf_slice(&b));
	buf_free(&b);
	return out;
}

/* Who is speaking, in the one spelling that credentials and senders have. Acting for somebody else is not a thing here. */
static bool take_name(struct auth *a, struct slice name, struct slice authzid)
{
	a->login = prepared(a, name);
	if (!a->login.p)
		a->login = arena_copy(&a->mem, slice_head(name, LOGIN_MAX_NAME)); /* for the log, and to be counted */
	else if (!authzid.n || slice_eq_nocase(prepared(a, authzid), a->login))
		return true;
	auth_count(a, false);
	auth_log(a, "auth-failed", SLICE("no name that a login can have, or another identity"));
	return false;
}

/* -- PLAIN, LOGIN -------------------------------------------------------------------------------------------------------------------------- */

/* RFC 4616: authzid NUL authcid NUL password. */
enum auth_step auth_take_plain(struct auth *a, struct slice message)
{
	struct slice rest = message, authzid = slice_cut(rest, '\0', &rest);
	if (!rest.p)
		return AUTH_SYNTAX;
	struct slice name = slice_cut(rest, '\0', &rest);
	if (!rest.p || slice_find(rest, '\0') < rest.n || !name.n || !rest.n)
		return AUTH_SYNTAX;
	if (!take_name(a, name, authzid))
		return AUTH_FAILED;
	struct login_question q = { .secret = rest };
	return auth_ask(a, LOGIN_PASSWORD, &q);
}

enum auth_step auth_take_login(struct auth *a, struct slice message)
{
	if (a->step == 1) {
		if (!message.n)
			return AUTH_SYNTAX;
		auth_say(a, SLICE("Password:"));
		return take_name(a, message, SLICE_NONE) ? AUTH_CHALLENGE : AUTH_FAILED;
	}
	struct login_question q = { .secret = message };
	return message.n && slice_find(message, '\0') == message.n ? auth_ask(a, LOGIN_PASSWORD, &q) : AUTH_SYNTAX;
}

/* -- SCRAM ------------------------------------------------------------------------------------------------------------------------------ */

static bool is_plus(const struct auth *a)
{
	return slice_ends(a->mechanism->name, SLICE("-PLUS"));
}

static enum auth_step take_scram_first(struct auth *a, struct slice message)
{
	if (!scram_read_first(&a->scram, message, &a->mem))
		return AUTH_SYNTAX;
	bool bound = a->scram.binding == SCRAM_EXPORTER || a->scram.binding == SCRAM_END_POINT;
	if (!take_name(a, a->scram.name, a->scram.authzid))
		return AUTH_FAILED;
	/* RFC 5802, 6: "y" although we offer a binding: somebody took our offer out of the EHLO reply. */
	if (bound != is_plus(a) || (a->scram.binding == SCRAM_CLIENT_THINKS_NOT && auth_binding_offered(a->facts, a->tls))) {
		auth_count(a, false);
		auth_log(a, "auth-failed", SLICE("channel binding doesn't fit"));
		return AUTH_FAILED;
	}
	struct login_question q = { .name = SLICE_NONE };
	return auth_ask(a, LOGIN_SCRAM_FIRST, &q);
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
		auth_count(a, false);
		auth_log(a, "auth-failed", SLICE("wrong nonce, channel binding or form"));
		return AUTH_FAILED;
	}
	struct login_question q = { .secret = a->scram.proof, .message = a->scram.auth_message };
	return auth_ask(a, LOGIN_SCRAM_FINAL, &q);
}

enum auth_step auth_take_scram(struct auth *a, struct slice message)
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
	return auth_ask(a, LOGIN_TOKEN, &q);
}

enum auth_step auth_take_oauthbearer(struct auth *a, struct slice message)
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

enum auth_step auth_take_xoauth2(struct auth *a, struct slice message)
{
	struct slice user = SLICE_NONE, token = SLICE_NONE;
	if (a->step > 1)
		return AUTH_FAILED;
	return read_bearer(message, &user, &token) && user.n ? take_token(a, user, token) : AUTH_SYNTAX;
}

/* -- EXTERNAL -------------------------------------------------------------------------------------------------------------------------------- */

/* The certificate must stand in `clients`. It may be any login of a domain that its line names; without one it is "sha256:...", for a line of `senders`. */
enum auth_step auth_take_external(struct auth *a, struct slice message)
{
	static const struct net_ip nowhere; /* what the address may is not asked here */
	struct buf hex = BUF_INIT(128);
	buf_add_cstr(&hex, "sha256:");
	text_add_hex(&hex, slice((const char *)a->tls->peer_sha256, sizeof a->tls->peer_sha256));
	struct slice print = slice_skip(arena_copy(&a->mem, buf_slice(&hex)), 7), name = prepared(a, message), domain = slice_skip(name, slice_rfind(name, '@') + 1);
	buf_free(&hex);
	a->login = name.n ? text_lower(&a->mem, name) : slice(print.p - 7, print.n + 7);
	enum answer found = !a->d->maps ? UNSURE : message.n ? clients_may_speak(a->d->maps, &nowhere, print, domain, &a->mem, NULL) :
	                    clients_known(a->d->maps, &nowhere, print, &a->mem);
	if (message.n && !domain.n)
		found = ABSENT;
	if (found == UNSURE)
		return AUTH_UNSURE;
	auth_count(a, found == FOUND);
	auth_log(a, found == FOUND ? "auth" : "auth-failed", found == FOUND ? SLICE_NONE : SLICE("the certificate is not listed for this"));
	return found == FOUND ? AUTH_GOOD : AUTH_FAILED;
}
