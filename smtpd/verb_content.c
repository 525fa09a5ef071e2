/* DATA and BDAT. */
#include "base/scan.h"
#include "smtpd/content.h"
#include "smtpd/policy.h"
#include "smtpd/transaction.h"
#include "smtpd/verbs.h"

static void data_judged(struct session *s, struct mail_status status)
{
	if (status.fate != MAIL_OK) {
		status = session_keep(s, status);
		session_reset(s);
		session_answer(s, status.code == 421 ? step_close(status) : step_reply(status));
		return;
	}
	s->content = content_new(s, false);
	s->state = SESSION_CONTENT;
	session_answer(s, (struct step){ .kind = STEP_CONTENT });
}

struct step verb_data(struct session *s, struct slice rest)
{
	if (rest.n)
		return REPLY(MAIL_NEVER, 501, 5, 4, "DATA takes no argument");
	policy_data(s, data_judged);
	return STEP_WAITING;
}

/* The chunk's bytes come whatever we say (RFC 3030, 2): they are read, and their end is answered. */
static void chunks_judged(struct session *s, struct mail_status status)
{
	s->content = content_new(s, true);
	s->state = SESSION_CHUNKS;
	if (status.fate != MAIL_OK)
		content_refuse(s->content, status);
	content_chunk(s->content, s->chunk_size, s->chunk_last);
	session_answer(s, (struct step){ .kind = STEP_CHUNK });
}

/* Out of place: "BDAT n" is dropped with its bytes. */
static struct step skip_chunk(struct session *s, uint64_t size)
{
	s->skip_bytes = size;
	s->skipping_chunk = true;
	return (struct step){ .kind = STEP_CHUNK };
}

struct step verb_bdat(struct session *s, struct slice rest)
{
	uint64_t size;
	bool good = scan_uint(&rest, INT64_MAX, &size);
	bool blank = good && scan_blanks(&rest) > 0;
	bool last = good && blank && slice_eq_nocase(rest, SLICE("LAST"));
	if (!good || (rest.n && !last)) /* how much follows can't be told: nothing behind it may be taken for a command */
		return step_close(MAIL_STATUS(MAIL_NEVER, 501, 5, 4, "BDAT SIZE [LAST]"));
	if (s->state != SESSION_RCPT && s->state != SESSION_CHUNKS)
		return skip_chunk(s, size);
	if (s->content) {
		content_chunk(s->content, size, last);
		return (struct step){ .kind = STEP_CHUNK };
	}
	s->chunk_size = size;
	s->chunk_last = last;
	policy_data(s, chunks_judged);
	return STEP_WAITING;
}
