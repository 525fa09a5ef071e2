/* From, read as a mail program would show it. Whatever two readers could read as two authors is refused, since one of them would be forged. */
#include "maps/author.h"

#include "base/buf.h"
#include "base/mail_address.h"
#include "base/mail_author.h"
#include "base/mail_header.h"
#include "base/mail_path.h"
#include "maps/clients.h"
#include "maps/senders.h"

enum { MAX_AUTHORS = 100, MAX_TEXT = 800 };

static enum answer may_write_as(const struct submitter *who, const struct mail_path *author, struct arena *mem)
{
	return who->login.n ? senders_may_use(who->maps, who->login, author, mem) : clients_may_speak(who->maps, who->ip, who->certificate, author->domain, mem, NULL);
}

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

static struct mail_status judge_one(const struct submitter *who, const struct mail_address *a, struct arena *mem)
{
	struct mail_path path = { .local_part = a->local_part, .domain = a->domain };
	if (a->domain.n == 0) /* "root" is nobody's; a mail program shows "ceo@bank.test" as an address, in quotes or not */
		return mail_author_shows_at(a->local_part) || mail_author_shows_at(a->name) ? unreadable() : MAIL_STATUS_OK;
	switch (may_write_as(who, &path, mem)) {
	case FOUND:
		return MAIL_STATUS_OK;
	case ABSENT:
		return not_his(who->login, &path, mem);
	case UNSURE:
		break;
	}
	return MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Could not look this up, try again later");
}

struct mail_status author_judge(const struct submitter *who, const struct mail_header *h, struct arena *mem)
{
	static const struct slice name = SLICE_INIT("From");
	struct mail_address *list = NULL;
	size_t count = 0;
	const struct mail_field *from = mail_header_find(h, name, 0);
	if (!from)
		return MAIL_STATUS_OK;
	if (mail_header_count(h, name) > 1)
		return MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "There is more than one From (RFC 5322, 3.6)");
	if (mail_address_parse(from->value, MAX_AUTHORS, mem, &list, &count))
		return unreadable();
	struct mail_status s = MAIL_STATUS_OK;
	for (size_t i = 0; i < count && s.fate == MAIL_OK; i++)
		s = judge_one(who, &list[i], mem);
	return s;
}
