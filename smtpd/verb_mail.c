/* MAIL: the reverse-path and its parameters. A parameter is a row; what the rest of the house may see of it is decoded, checked and printable (security-kit S6). */
#include <errno.h>

#include "base/clock.h"
#include "base/mail_date.h"
#include "base/mail_param.h"
#include "base/scan.h"
#include "base/text.h"
#include "smtpd/attack.h"
#include "smtpd/outcome.h"
#include "smtpd/policy.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

enum { MAX_PATH = 1024 };

#define BAD_VALUE MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "The value of a parameter is wrong")
#define TOO_LARGE MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "The message is larger than what is taken here")
#define UNKNOWN MAIL_STATUS(MAIL_NEVER, 555, 5, 4, "A parameter is not known, or not offered here")

struct reading {
	struct session *session;
	struct transaction_facts *facts;
	struct arena *mem;
};

struct parameter {
	struct slice keyword;
	enum { EVERYBODY, OURS, STRANGERS } offered; /* on every listener, to those who log in only, on the MX port only */
	bool (*read)(struct reading *r, const struct mail_param *p);
};

static bool read_size(struct reading *r, const struct mail_param *p)
{
	return mail_param_size(p->value, &r->facts->announced);
}

static bool read_body(struct reading *r, const struct mail_param *p)
{
	r->facts->eight_bit = slice_eq_nocase(p->value, SLICE("8BITMIME"));
	return r->facts->eight_bit || slice_eq_nocase(p->value, SLICE("7BIT"));
}

static bool read_utf8(struct reading *r, const struct mail_param *p)
{
	r->facts->utf8 = r->session->hears_utf8 = !p->has_value;
	return !p->has_value;
}

/* RFC 4954, 5: who handed it in elsewhere; of no weight here, but it has to be xtext. */
static bool read_auth(struct reading *r, const struct mail_param *p)
{
	struct slice ignored;
	return slice_eq(p->value, SLICE("<>")) || mail_param_envid(p->value, r->mem, &ignored);
}

static bool read_ret(struct reading *r, const struct mail_param *p)
{
	r->facts->return_full = slice_eq_nocase(p->value, SLICE("FULL"));
	r->facts->return_headers = slice_eq_nocase(p->value, SLICE("HDRS"));
	return r->facts->return_full || r->facts->return_headers;
}

static bool read_envid(struct reading *r, const struct mail_param *p)
{
	return mail_param_envid(p->value, r->mem, &r->facts->envelope_id);
}

static bool read_by(struct reading *r, const struct mail_param *p)
{
	struct mail_by by;
	if (!mail_param_by(p->value, &by))
		return false;
	r->facts->deliver_by_s = clock_wall_s() + by.seconds;
	r->facts->deliver_by_return = by.return_mode;
	r->facts->deliver_by_trace = by.trace;
	return true;
}

static bool read_hold_for(struct reading *r, const struct mail_param *p)
{
	uint64_t seconds;
	if (r->facts->hold_until_s || slice_starts(p->value, SLICE("0")) || !scan_uint_all(p->value, VERB_MAX_HOLD_S, &seconds))
		return false;
	r->facts->hold_for_s = (int64_t)seconds;
	r->facts->hold_until_s = clock_wall_s() + r->facts->hold_for_s;
	return true;
}

static bool read_hold_until(struct reading *r, const struct mail_param *p)
{
	int64_t at;
	if (r->facts->hold_until_s || !mail_date_parse_iso(p->value, &at) || at > clock_wall_s() + VERB_MAX_HOLD_S)
		return false;
	r->facts->hold_until_s = at > 0 ? at : 1;
	return true;
}

static bool read_priority(struct reading *r, const struct mail_param *p)
{
	return mail_param_priority(p->value, &r->facts->priority);
}

static bool read_require_tls(struct reading *r, const struct mail_param *p)
{
	r->facts->require_tls = r->session->facts.tls;
	return !p->has_value && r->session->facts.tls;
}

static bool read_prdr(struct reading *r, const struct mail_param *p)
{
	r->facts->prdr = true;
	return !p->has_value;
}

static const struct parameter parameters[] = {
	{ SLICE_INIT("SIZE"), EVERYBODY, read_size },
	{ SLICE_INIT("BODY"), EVERYBODY, read_body },
	{ SLICE_INIT("SMTPUTF8"), EVERYBODY, read_utf8 },
	{ SLICE_INIT("AUTH"), OURS, read_auth },
	{ SLICE_INIT("RET"), OURS, read_ret },
	{ SLICE_INIT("ENVID"), OURS, read_envid },
	{ SLICE_INIT("BY"), OURS, read_by },
	{ SLICE_INIT("HOLDFOR"), OURS, read_hold_for },
	{ SLICE_INIT("HOLDUNTIL"), OURS, read_hold_until },
	{ SLICE_INIT("MT-PRIORITY"), OURS, read_priority },
	{ SLICE_INIT("REQUIRETLS"), OURS, read_require_tls },
	{ SLICE_INIT("PRDR"), STRANGERS, read_prdr },
};
enum { PARAMETERS = sizeof parameters / sizeof parameters[0] };

static struct mail_status read_one(struct reading *r, const struct mail_param *p, unsigned *seen)
{
	for (size_t i = 0; i < PARAMETERS; i++) {
		if (!slice_eq_nocase(p->keyword, parameters[i].keyword))
			continue;
		bool mx = r->session->facts.listener == LISTENER_MX;
		if (parameters[i].offered == (mx ? OURS : STRANGERS)) {
			if (parameters[i].read == read_ret)
				attack_note_free(r->session, ATTACK_DSN, &UNKNOWN);
			return UNKNOWN;
		}
		if (*seen & 1u << i)
			return MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "A parameter stands twice");
		*seen |= 1u << i;
		return parameters[i].read(r, p) ? MAIL_STATUS_OK : BAD_VALUE;
	}
	return UNKNOWN;
}

static struct mail_status read_parameters(struct reading *r, struct slice rest)
{
	struct mail_param p;
	unsigned seen = 0;
	int found;
	while ((found = mail_param_next(&rest, &p)) == 1) {
		struct mail_status status = read_one(r, &p, &seen);
		if (status.fate != MAIL_OK)
			return status;
	}
	return found < 0 ? MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "What follows the path is no parameter") : MAIL_STATUS_OK;
}

static void mail_judged(struct session *s, struct mail_status status)
{
	if (status.fate == MAIL_OK) {
		s->state = SESSION_MAIL;
		session_answer(s, REPLY(MAIL_OK, 250, 1, 0, "Ok"));
		return;
	}
	status = session_keep(s, status);
	session_reset(s);
	session_answer(s, status.code == 421 ? step_close(status) : step_reply(status));
}

static struct step refuse(struct session *s, struct mail_status status)
{
	session_reset(s);
	return step_reply(status);
}

static struct mail_status bad_path(struct arena *mem, const char *why)
{
	struct buf b = BUF_INIT(200);
	buf_addf(&b, "This is no path: %s", why);
	struct mail_status status = { MAIL_NEVER, 501, { 1, 7 }, arena_copy(mem, buf_slice(&b)) };
	buf_free(&b);
	return status;
}

static struct mail_status read_mail(struct session *s, struct slice rest)
{
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	struct arena *mem = transaction_arena(s->transaction);
	const char *why = "";
	if (mail_path_parse(&rest, mem, &t->reverse_path, &why))
		return session_keep(s, bad_path(mem, why));
	if (t->reverse_path.local_part.n && !t->reverse_path.domain.n)
		return MAIL_STATUS(MAIL_NEVER, 501, 1, 7, "A reverse-path has a domain");
	struct mail_status status = read_parameters(&(struct reading){ s, t, mem }, rest);
	if (status.fate != MAIL_OK)
		return status;
	if (t->deliver_by_s && t->hold_until_s >= t->deliver_by_s) /* 4865, 5.2 */
		return MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "It would be released when its time is over");
	if (t->reverse_path.utf8 && !t->utf8)
		return MAIL_STATUS(MAIL_NEVER, 553, 6, 7, "This path needs SMTPUTF8");
	if (t->announced > smtpd_settings.size_limit) {
		attack_note(s, ATTACK_TOO_LARGE, &TOO_LARGE);
		return TOO_LARGE;
	}
	if (s->facts.login.n && !outcome_queue_has_room(t->announced)) /* what a user sends mostly goes to the queue; others hear it at RCPT */
		return MAIL_STATUS(MAIL_LATER, 452, 3, 1, "No room for this message just now, try again later");
	struct buf sender = BUF_INIT(MAX_PATH);
	mail_path_print(&sender, &t->reverse_path);
	t->sender = arena_copy(mem, buf_slice(&sender));
	buf_free(&sender);
	return MAIL_STATUS_OK;
}

struct step verb_mail(struct session *s, struct slice rest)
{
	if (!scan_word(&rest, SLICE("FROM:")))
		return REPLY(MAIL_NEVER, 501, 5, 4, "MAIL FROM:<path>");
	scan_blanks(&rest);
	s->transaction = transaction_new(s);
	s->facts.transaction = transaction_facts_of(s->transaction);
	s->hears_utf8 = false;
	struct mail_status status = read_mail(s, rest);
	if (status.fate != MAIL_OK)
		return refuse(s, status);
	policy_mail(s, mail_judged);
	return STEP_WAITING;
}
