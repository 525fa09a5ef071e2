/* A filter's changes become the transaction's. The header section is edited in a copy that replaces the old one at the end. */
#include "smtpd/milter_apply.h"

#include "base/mail_header.h"

#include "base/log.h"
#include "base/unique.h"

struct work {
	struct check *check;
	struct slice filter;
	struct message *message;
	struct buf head;
	bool head_changed;
};

static struct slice path_of(struct slice s)
{
	s = slice_trim(s);
	return slice_starts(s, SLICE("<")) && slice_ends(s, SLICE(">")) ? slice(s.p + 1, s.n - 2) : s;
}

static const char *change_sender(struct work *w, struct slice text)
{
	struct slice address = path_of(text);
	struct mail_path path = { SLICE_INIT(""), SLICE_INIT(""), false };
	struct arena mem = ARENA_INIT(8192);
	const char *why = NULL;
	if ((!address.n || !mail_path_parse_address(address, &mem, &path, &why)) && !check_change_sender(w->check, &path))
		log_event(LOG_WARN, "milter-change-late", LOG_STR("session", unique_slice(&check_facts(w->check)->id)), LOG_STR("id", unique_slice(&check_facts(w->check)->transaction->id)),
		          LOG_STR("milter", w->filter), LOG_STR("from", address), LOG_CSTR("why", "the next hop heard the reverse-path at RCPT"), LOG_END);
	arena_free(&mem);
	return why;
}

static const char *change_head(struct work *w, const struct milter_reply *r)
{
	if (!w->head_changed)
		buf_add(&w->head, buf_slice(&w->message->head));
	w->head_changed = true;
	return milter_head_change(&w->head, r) ? "a header field that can't be" : NULL;
}

/* NULL, or what is wrong. */
static const char *change(struct work *w, const struct milter_reply *r)
{
	switch (r->kind) {
	case MILTER_SAYS_INSERT_HEADER:
		if (r->index == 0 && mail_field_name_is_good(r->name))
			return message_add_field(w->message, r->name, slice_skip(r->value, slice_starts(r->value, SLICE(" ")))) ? "header fields past the ceiling" : NULL;
		return change_head(w, r);
	case MILTER_SAYS_ADD_HEADER:
	case MILTER_SAYS_CHANGE_HEADER:
		return change_head(w, r);
	case MILTER_SAYS_CHANGE_FROM:
		return change_sender(w, r->name);
	case MILTER_SAYS_QUARANTINE:
		check_quarantine(w->check, r->name);
		return NULL;
	case MILTER_SAYS_ADD_RCPT:
	case MILTER_SAYS_ADD_RCPT_ARGS:
		return check_add_recipient(w->check, path_of(r->name));
	case MILTER_SAYS_DELETE_RCPT:
		check_delete_recipient(w->check, path_of(r->name));
		return NULL;
	case MILTER_SAYS_REPLACE_BODY:
	case MILTER_SAYS_PROGRESS:
	case MILTER_SAYS_SHUTDOWN:
	case MILTER_SAYS_ACCEPT:
	case MILTER_SAYS_CONTINUE:
	case MILTER_SAYS_DISCARD:
	case MILTER_SAYS_FAIL:
	case MILTER_SAYS_REJECT:
	case MILTER_SAYS_SKIP:
	case MILTER_SAYS_LATER:
	case MILTER_SAYS_REPLY:
	case MILTER_SAYS_NEGOTIATE:
		break;
	}
	return "no change"; /* milter_changes_note keeps others only */
}

static const char *change_body(struct work *w, struct milter_changes *changes)
{
	struct buf clean = BUF_INIT(changes->body.max * 2 + 2);
	const char *why = milter_body_clean(buf_slice(&changes->body), &clean) || message_set_body(w->message, buf_slice(&clean)) ? "a body past the ceiling" : NULL;
	buf_free(&clean);
	return why;
}

struct mail_status milter_apply(struct milter_changes *changes, struct check *c, struct slice filter)
{
	struct work w = { .check = c, .filter = filter, .message = check_message(c), .head = BUF_INIT(MESSAGE_MAX_HEAD) };
	struct slice in = buf_slice(&changes->frames);
	struct milter_reply r;
	const char *why = NULL, *nonsense;
	while (!why && milter_reply_read(&in, &r, &nonsense) > 0)
		why = change(&w, &r);
	if (!why && w.head_changed && message_set_head(w.message, buf_slice(&w.head)))
		why = "a header section past the ceiling";
	if (!why && changes->body_replaced)
		why = change_body(&w, changes);
	buf_free(&w.head);
	milter_changes_clear(changes);
	if (!why)
		return MAIL_STATUS_OK;
	log_event(LOG_WARN, "milter-change-refused", LOG_STR("session", unique_slice(&check_facts(c)->id)), LOG_STR("milter", filter), LOG_CSTR("why", why), LOG_END);
	return MAIL_STATUS(MAIL_LATER, 451, 7, 1, "A filter's changes can't be made; try again later");
}
