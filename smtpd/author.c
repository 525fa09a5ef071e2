/* The check `author`: From of what a login hands in; and whether a key of ours may vouch for it. */
#include "smtpd/author.h"

#include "base/text.h"
#include "maps/author.h"
#include "smtpd/smtpd.h"

enum { MAX_MEMORY = 8 << 20 };

bool author_may_be_signed(struct check *c, const struct mail_header *h)
{
	const struct session_facts *f = check_facts(c);
	struct buf key = BUF_INIT(300), certificate = BUF_INIT(2 * sizeof f->certificate_sha256);
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	if (f->user.n)
		buf_addf(&key, "unix:%.*s", SLICE_FMT(f->user));
	if (f->client_certificate)
		text_add_hex(&certificate, slice((const char *)f->certificate_sha256, sizeof f->certificate_sha256));
	const struct submitter who = { check_smtpd(c)->maps, f->login.n ? f->login : buf_slice(&key), &f->ip, buf_slice(&certificate) };
	bool may = who.maps && !buf_full(&key) && author_judge(&who, h, &mem).fate == MAIL_OK;
	arena_free(&mem);
	buf_free(&certificate);
	buf_free(&key);
	return may;
}

static void *begin(struct check *c)
{
	enum listener_kind l = check_facts(c)->listener;
	return l == LISTENER_SUBMISSION || l == LISTENER_SUBMISSIONS ? c : NULL;
}

static struct mail_status judge(struct check *c, struct arena *mem)
{
	struct mail_header h;
	const struct submitter who = { .maps = check_smtpd(c)->maps, .login = check_facts(c)->login };
	if (!who.maps)
		return MAIL_STATUS_UNSURE("There are no maps just now");
	if (mail_header_parse(buf_slice(&check_message(c)->head), SIZE_MAX, mem, &h))
		return MAIL_STATUS(MAIL_NEVER, 550, 6, 0, "The header section can't be read");
	return author_judge(&who, &h, mem);
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	(void)state;
	const struct session_facts *f = check_facts(c);
	if (stage != CHECK_DOT || !f->login.n || mail_path_is_null(&f->transaction->reverse_path))
		return CHECK_GO_ON;
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	struct mail_status s = judge(c, &mem);
	if (s.fate != MAIL_OK)
		check_refuse(c, s); /* copied */
	arena_free(&mem);
	return s.fate == MAIL_OK ? CHECK_GO_ON : CHECK_REFUSE;
}

static void end(void *state)
{
	(void)state;
}

const struct check_kind author_check = { .name = "author", .begin = begin, .run = run, .end = end };
