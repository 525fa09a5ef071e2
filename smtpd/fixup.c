/* The check `fixup`. Fields that stay are copied byte by byte. */
#include "smtpd/fixup.h"

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/mail_date.h"
#include "base/mail_header.h"

static bool is_secret(struct slice name)
{
	return slice_eq_nocase(name, SLICE("Bcc")) || slice_eq_nocase(name, SLICE("Resent-Bcc"));
}

bool fixup_head(struct slice head, struct slice message_id, int64_t now_s, struct buf *out, bool *added_id)
{
	struct slice rest = head;
	struct mail_field f;
	enum mail_field_kind kind;
	bool has_date = false, has_id = false, has_secret = false;
	while ((kind = mail_field_next(&rest, &f)) != MAIL_FIELD_END) {
		bool secret = kind == MAIL_FIELD && is_secret(f.name);
		has_date = has_date || (kind == MAIL_FIELD && slice_eq_nocase(f.name, SLICE("Date")));
		has_id = has_id || (kind == MAIL_FIELD && slice_eq_nocase(f.name, SLICE("Message-ID")));
		has_secret = has_secret || secret;
		if (!secret)
			buf_add(out, f.raw);
	}
	*added_id = !has_id;
	if (!has_date) {
		buf_add(out, SLICE("Date: "));
		mail_date_print_local(out, now_s);
		buf_add(out, SLICE("\r\n"));
	}
	if (!has_id)
		buf_addf(out, "Message-ID: %.*s\r\n", SLICE_FMT(message_id));
	buf_add(out, SLICE("\r\n"));
	return !has_date || !has_id || has_secret;
}

static void *begin(struct check *c)
{
	return check_facts(c)->listener == LISTENER_MX ? NULL : c;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	(void)state;
	if (stage != CHECK_DOT)
		return CHECK_GO_ON;
	struct message *m = check_message(c);
	struct buf id = BUF_INIT(512), head = BUF_INIT(MESSAGE_MAX_HEAD);
	bool added_id;
	buf_addf(&id, "<%s@%.*s>", check_facts(c)->transaction->id.text, SLICE_FMT(general_settings.hostname));
	if (fixup_head(buf_slice(&m->head), buf_slice(&id), clock_wall_s(), &head, &added_id) && !buf_full(&head) && !message_set_head(m, buf_slice(&head)) && added_id)
		check_made_message_id(c, buf_slice(&id));
	bool full = buf_full(&head);
	buf_free(&id);
	buf_free(&head);
	if (!full)
		return CHECK_GO_ON;
	check_refuse(c, MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "The header section is too long"));
	return CHECK_REFUSE;
}

static void end(void *state)
{
	(void)state;
}

const struct check_kind fixup_check = { .name = "fixup", .begin = begin, .run = run, .end = end };
