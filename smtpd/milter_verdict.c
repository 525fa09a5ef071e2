/* What a milter's answers mean: its options, its verdict of a step, the changes that it wants before its verdict of the whole. What can't be is nonsense, and the
 * milter is lost for this message. */
#include "smtpd/milter_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "smtpd/milter_apply.h"

enum { MAX_END_MS = 540000 /* of RFC 5321's ten minutes for the client's wait at the dot (4.5.3.2.6) */ };

/* The answer that came is one to the connection or HELO. */
static bool is_of_session(const struct milter *m)
{
	return m->answered == AT_CONNECT || m->answered == AT_HELO;
}

static enum check_step refuse(struct milter *m, struct mail_status status)
{
	if (is_of_session(m)) {
		m->refused_session = true;
		m->refusal = mail_status_copy(&m->mem, status);
	}
	log_event(LOG_INFO, "milter-refuses", LOG_STR("session", unique_slice(&check_facts(m->check)->id)), LOG_STR("milter", m->service->name), LOG_UINT("code", status.code),
	          LOG_STR("text", status.text), LOG_END);
	check_refuse(m->check, status);
	return CHECK_REFUSE;
}

/* "550 5.7.1 text", perhaps in several lines, each with its code. */
static enum check_step refuse_with(struct milter *m, struct slice text)
{
	struct slice rest, first = slice_trim(slice_cut(text, '\n', &rest));
	unsigned code = 0;
	for (size_t i = 0; i < 3 && i < first.n; i++)
		code = code * 10 + (unsigned)(first.p[i] - '0');
	if (first.n < 3 || (first.p[0] != '4' && first.p[0] != '5') || code < 400 || code > 599 || (first.n > 3 && first.p[3] != ' ' && first.p[3] != '-')) {
		milter_lose(m, "a reply that is none");
		return milter_down(m);
	}
	struct arena mem = ARENA_INIT(8192);
	enum check_step step = refuse(m, mail_status_from_reply(&mem, code, slice_skip(first, 4)));
	arena_free(&mem);
	return step;
}

static enum check_step pass(struct milter *m)
{
	if (is_of_session(m))
		m->passed_session = true;
	else
		m->passed_message = true;
	return CHECK_GO_ON;
}

/* Its verdict of the whole message: the changes it wanted are made now. */
static enum check_step finish(struct milter *m)
{
	struct mail_status status = milter_apply(&m->changes, m->check, m->service->name);
	if (status.fate == MAIL_OK)
		return CHECK_GO_ON;
	return refuse(m, status);
}

enum check_step milter_nonsense(struct milter *m, const char *why)
{
	milter_lose(m, why);
	return milter_down(m);
}

enum check_step milter_on_options(struct milter *m, const struct milter_reply *r)
{
	if (r->version < 2 || r->version > 99)
		return milter_nonsense(m, "a version that can't be");
	m->actions = r->actions;
	m->options = r->options & MILTER_ALL_OPTIONS; /* some filters ask for all they know; what they use is looked at when it comes */
	struct slice lists = r->value, names;
	enum milter_macro_place place;
	arena_reset(&m->names);
	memset(m->macros, 0, sizeof m->macros);
	while (milter_macros_next(&lists, &place, &names)) {
		m->macros[place] = names.n <= MILTER_MAX_MACRO_NAMES ? arena_copy(&m->names, names) : SLICE_NONE;
		if (!m->macros[place].p)
			return milter_nonsense(m, "a list of macros that is too long");
	}
	return lists.n ? milter_nonsense(m, "a list of macros that makes no sense") : milter_walk(m);
}

enum check_step milter_on_verdict(struct milter *m, const struct milter_reply *r)
{
	bool end = m->answered == AT_END;
	m->ended |= end;
	if (m->answered == MILTER_STEPS && (r->kind == MILTER_SAYS_CONTINUE || r->kind == MILTER_SAYS_ACCEPT))
		return CHECK_GO_ON;            /* of an unknown command alone: the walk stands where it stood */
	switch (r->kind) {
	case MILTER_SAYS_CONTINUE:
		return end ? finish(m) : milter_walk(m);
	case MILTER_SAYS_ACCEPT:
		return end ? finish(m) : pass(m);
	case MILTER_SAYS_SKIP:
		if (m->answered != AT_BODY)
			return milter_nonsense(m, "it skips what is no body");
		m->body_over = true;
		buf_free(&m->piece);
		return milter_walk(m);
	case MILTER_SAYS_REJECT:
		return refuse(m, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Refused by policy"));
	case MILTER_SAYS_DISCARD: /* nothing is accepted and dropped (rule.md) */
		return refuse(m, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Refused by policy: it would be dropped"));
	case MILTER_SAYS_LATER:
		return refuse(m, MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Try again later"));
	case MILTER_SAYS_SHUTDOWN:
		return refuse(m, MAIL_STATUS(MAIL_LATER, 421, 7, 0, "Closing: try again later"));
	case MILTER_SAYS_REPLY:
		return refuse_with(m, r->name);
	case MILTER_SAYS_FAIL:
		return milter_nonsense(m, "it says that it failed");
	case MILTER_SAYS_NEGOTIATE:
	case MILTER_SAYS_ADD_RCPT:
	case MILTER_SAYS_ADD_RCPT_ARGS:
	case MILTER_SAYS_DELETE_RCPT:
	case MILTER_SAYS_REPLACE_BODY:
	case MILTER_SAYS_CHANGE_FROM:
	case MILTER_SAYS_ADD_HEADER:
	case MILTER_SAYS_INSERT_HEADER:
	case MILTER_SAYS_CHANGE_HEADER:
	case MILTER_SAYS_PROGRESS:
	case MILTER_SAYS_QUARANTINE:
		break;
	}
	return milter_nonsense(m, "an answer to no question");
}

static enum milter_action needed(enum milter_reply_kind kind)
{
	switch (kind) {
	case MILTER_SAYS_ADD_RCPT: return MILTER_ADD_RCPT;
	case MILTER_SAYS_ADD_RCPT_ARGS: return MILTER_ADD_RCPT_ARGS;
	case MILTER_SAYS_DELETE_RCPT: return MILTER_DELETE_RCPT;
	case MILTER_SAYS_REPLACE_BODY: return MILTER_CHANGE_BODY;
	case MILTER_SAYS_CHANGE_FROM: return MILTER_CHANGE_FROM;
	case MILTER_SAYS_ADD_HEADER:
	case MILTER_SAYS_INSERT_HEADER: return MILTER_ADD_HEADERS;
	case MILTER_SAYS_CHANGE_HEADER: return MILTER_CHANGE_HEADERS;
	case MILTER_SAYS_QUARANTINE: return MILTER_QUARANTINE;
	case MILTER_SAYS_SHUTDOWN:
	case MILTER_SAYS_ACCEPT:
	case MILTER_SAYS_CONTINUE:
	case MILTER_SAYS_DISCARD:
	case MILTER_SAYS_FAIL:
	case MILTER_SAYS_PROGRESS:
	case MILTER_SAYS_REJECT:
	case MILTER_SAYS_SKIP:
	case MILTER_SAYS_LATER:
	case MILTER_SAYS_REPLY:
	case MILTER_SAYS_NEGOTIATE: break;
	}
	return 0;
}

const char *milter_on_change(struct milter *m, const struct milter_reply *r, struct slice frame)
{
	if (milter_next_awaited(m) != AT_END)
		return "a change before the end";
	if (clock_mono_ms() - m->end_began_ms > MAX_END_MS)
		return "it works for too long";
	loop_timer_set(m->timer, m->service->timeout_ms);
	if (r->kind == MILTER_SAYS_PROGRESS)
		return NULL;
	if (!(m->actions & needed(r->kind)))
		return "a change that it didn't ask for";
	return milter_changes_note(&m->changes, frame, r) ? "too many changes" : NULL;
}
