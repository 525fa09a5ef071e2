/* RCPT: one forward-path and its parameters. */
#include "base/mail_param.h"
#include "base/scan.h"
#include "queue/envelope.h"
#include "smtpd/attack.h"
#include "smtpd/policy.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

enum { MAX_PATH = 1024, ROOM_FOR_DOT = 1 << 20 /* of the transaction's memory: what refused recipients leave behind must not take it from the accepted ones */ };

#define TOO_MUCH MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Too much for one transaction, send the rest in another one")
#define UNKNOWN MAIL_STATUS(MAIL_NEVER, 555, 5, 4, "A parameter is not known, or not offered here")

static bool wants_success(struct slice notify)
{
	unsigned wanted = 0;
	return mail_param_notify(notify, &wanted) && (wanted & NOTIFY_SUCCESS);
}

static struct mail_status read_parameter(struct session *s, struct recipient *r, const struct mail_param *p)
{
	bool notify = slice_eq_nocase(p->keyword, SLICE("NOTIFY")), original = slice_eq_nocase(p->keyword, SLICE("ORCPT"));
	if (notify && s->facts.listener == LISTENER_MX)
		(wants_success(p->value) ? attack_note : attack_note_free)(s, ATTACK_DSN, &UNKNOWN);
	if ((!notify && !original) || s->facts.listener == LISTENER_MX)
		return UNKNOWN;
	if (!slice_is_ascii(p->value) && !s->facts.transaction->utf8)
		return MAIL_STATUS(MAIL_NEVER, 553, 6, 7, "This parameter needs SMTPUTF8");
	bool good = notify ? !r->notify && mail_param_notify(p->value, &r->notify)
	                   : !r->original.n && mail_param_orcpt(p->value, transaction_arena(s->transaction), &r->original);
	return good ? MAIL_STATUS_OK : MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "The value of a parameter is wrong");
}

static struct mail_status read_parameters(struct session *s, struct recipient *r, struct slice rest)
{
	struct mail_param p;
	int found;
	while ((found = mail_param_next(&rest, &p)) == 1) {
		struct mail_status status = read_parameter(s, r, &p);
		if (status.fate != MAIL_OK)
			return status;
	}
	return found < 0 ? MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "What follows the path is no parameter") : MAIL_STATUS_OK;
}

static struct mail_status bad_path(struct arena *mem, const char *why)
{
	struct buf b = BUF_INIT(200);
	buf_addf(&b, "This is no path: %s", why);
	struct mail_status status = { MAIL_NEVER, 501, { 1, 3 }, arena_copy(mem, buf_slice(&b)) };
	buf_free(&b);
	return status;
}

static struct mail_status read_rcpt(struct session *s, struct recipient *r, struct slice rest)
{
	struct arena *mem = transaction_arena(s->transaction);
	const char *why = "";
	if (mail_path_parse(&rest, mem, &r->path, &why))
		return bad_path(mem, why);
	if (mail_path_is_null(&r->path))
		return MAIL_STATUS(MAIL_NEVER, 501, 1, 3, "A recipient is missing");
	struct mail_status status = read_parameters(s, r, rest);
	if (status.fate != MAIL_OK)
		return status;
	if (r->path.utf8 && !s->facts.transaction->utf8)
		return MAIL_STATUS(MAIL_NEVER, 553, 6, 7, "This path needs SMTPUTF8");
	struct buf address = BUF_INIT(MAX_PATH);
	mail_path_print(&address, &r->path);
	r->address = arena_copy(mem, buf_slice(&address));
	buf_free(&address);
	return r->address.p ? MAIL_STATUS_OK : TOO_MUCH;
}

static void rcpt_judged(struct session *s, struct mail_status status)
{
	if (status.fate == MAIL_OK) {
		s->state = SESSION_RCPT;
		status = MAIL_STATUS(MAIL_OK, 250, 1, 5, "Ok");
	}
	session_answer(s, status.code == 421 ? step_close(status) : step_reply(status));
}

/* What the maps refused at once leaves nothing behind: any number of unknown recipients costs a transaction the memory of one. */
static void forget_refused(struct session *s)
{
	struct arena *mem = transaction_arena(s->transaction);
	if (s->judged_at && s->judged_at == mem->used) {
		s->candidate = NULL;
		arena_back_to(mem, s->before_candidate);
	}
	s->judged_at = 0;
	s->before_candidate = arena_mark(mem);
}

struct step verb_rcpt(struct session *s, struct slice rest)
{
	if (!scan_word(&rest, SLICE("TO:")))
		return REPLY(MAIL_NEVER, 501, 5, 4, "RCPT TO:<path>");
	scan_blanks(&rest);
	struct transaction_facts *t = transaction_facts_of(s->transaction);
	if (t->recipient_count >= smtpd_settings.max_recipients)
		return REPLY(MAIL_LATER, 452, 5, 3, "Too many recipients, send the rest in another transaction");
	forget_refused(s);
	struct arena *mem = transaction_arena(s->transaction);
	struct recipient *r = mem->used + ROOM_FOR_DOT < mem->max ? ARENA_NEW(mem, struct recipient) : NULL;
	if (!r)
		return step_reply(TOO_MUCH);
	r->original = SLICE("");
	struct mail_status status = read_rcpt(s, r, rest);
	if (status.fate != MAIL_OK)
		return step_reply(status);
	policy_rcpt(s, r, rcpt_judged);
	return STEP_WAITING;
}
