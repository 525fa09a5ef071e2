#ifndef BASE_MAIL_AUTHOR_H
#define BASE_MAIL_AUTHOR_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/mail_header.h"
#include "base/slice.h"

/* Whose message is it? From, once as the grammar has it and once as mail programs show it. What they may show as an address of a domain and nobody can
 * read for certain is refused (etc/doc/decisions.md, "Whose domain an unreadable From is").
 *
 * 0: the domain of all authors, A-labels, in mem. -ENOENT: nobody's ("From: root", no From). -EINVAL: of several domains, or unclear. *why is a fixed
 * phrase where there is none. */
int mail_author_shown(const struct mail_header *h, struct arena *mem, struct slice *domain, const char **why);

/* By the grammar alone, for what we sign: an author without a domain beside one that has it changes nothing. 0 or -EINVAL. */
int mail_author_written(const struct mail_header *h, struct arena *mem, struct slice *domain);

/* Does a mail program show an "@" in this, encoded words (RFC 2047) decoded? */
bool mail_author_shows_at(struct slice text);
#endif
