/* The check `author`: From of what a login hands in. Whatever two readers could read as two authors is refused, since one of them would be forged. */
#include "smtpd/author.h"

#include "base/mail_address.h"
#include "base/mail_author.h"
#include "base/mail_header.h"
#include "base/mail_path.h"
#include "maps/senders.h"
#include "smtpd/smtpd.h"

enum { MAX_AUTHORS = 100, MAX_MEMORY = 8 << 20, MAX_TEXT = 800 };

/* Named, as for the reverse-path: whoever set the mail program up sees which of the two is wrong. */
static struct mail_status not_his(struct slice login, const struct mail_path *author, struct arena *mem)
{
	struct buf text = BUF_INIT(MAX_TEXT);
	buf_addf(&text, "The login %.*s may not write as From ", SLICE_FMT(login));
	mail_path_print(&text, author);
	struct slice copy = buf_full(&text) ? SLICE_NONE : arena_copy(mem, buf_slice(&text));
	buf_free(&text);
	return (struct mail_status){ MAIL_NEVER, 550, { 7, 1 }, copy.p ? copy : SLICE("This login may not write as this From") };
}

static struct mail_status unreadable(void)
{
	return MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "From is no address that can be read (RFC 5322, 3.4)");
}

static struct mail_status judge_one(struct map_set *maps, struct slice login, const struct mail_address *a, struct arena *mem)
{
	struct mail_path path = { .local_part = a->local_part, .domain = a->domain };
	if (a->domain.n == 0) /* "root" is nobody's; a mail program shows "ceo@bank.test" as an address, in quotes or not */
		return mail_author_shows_at(a->local_part) || mail_author_shows_at(a->name) ? unreadable() : MAIL_STATUS_OK;
	switch (senders_may_use(maps, login, &path, mem)) {
	case FOUND:
		return MAIL_STATUS_OK;
	case ABSENT:
		return not_his(login, &path, mem);
	case UNSURE:
		break;
	}
	return MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Could not look this up, try again later");
}

struct mail_status author_judge(struct map_set *maps, struct slice login, struct slice head, struct arena *mem)
{
	static const struct slice name = SLICE_INIT("From");
	struct mail_header h;
	struct mail_address *list = NULL;
	size_t count = 0;
	if (mail_header_parse(head, SIZE_MAX, mem, &h))
		return MAIL_STATUS(MAIL_NEVER, 550, 6, 0, "The header section can't be read");
	const struct mail_field *from = mail_header_find(&h, name, 0);
	if (!from)
		return MAIL_STATUS_OK;
	if (mail_header_count(&h, name) > 1)
		return MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "There is more than one From (RFC 5322, 3.6)");
	if (mail_address_parse(from->value, MAX_AUTHORS, mem, &list, &count))
		return unreadable();
	struct mail_status s = MAIL_STATUS_OK;
	for (size_t i = 0; i < count && s.fate == MAIL_OK; i++)
		s = judge_one(maps, login, &list[i], mem);
	return s;
}

static void *begin(struct check *c)
{
	enum listener_kind l = check_facts(c)->listener;
	return l == LISTENER_SUBMISSION || l == LISTENER_SUBMISSIONS ? c : NULL;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	(void)state;
	const struct session_facts *f = check_facts(c);
	struct map_set *maps = check_smtpd(c)->maps;
	if (stage != CHECK_DOT || !f->login.n || mail_path_is_null(&f->transaction->reverse_path))
		return CHECK_GO_ON;
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	struct mail_status s = maps ? author_judge(maps, f->login, buf_slice(&check_message(c)->head), &mem) :
	                       MAIL_STATUS_UNSURE("There are no maps just now");
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
