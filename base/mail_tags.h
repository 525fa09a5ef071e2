#ifndef BASE_MAIL_TAGS_H
#define BASE_MAIL_TAGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/slice.h"

/* Lists of name=value separated by semicolons: DKIM and ARC fields, key records, DMARC and other policy records (RFC 6376, 3.2). */
enum { MAIL_TAGS_MAX = 64, MAIL_TAGS_LETTERS = 64 };

struct mail_tag {
	struct slice name;    /* case counts (3.2), policies fold it themselves */
	struct slice value;   /* blanks and folds at both ends removed, inside kept */
	struct slice whole;   /* from the '=' to the ';', nothing removed */
};

struct mail_tags {
	struct mail_tag tags[MAIL_TAGS_MAX];
	size_t count;
	uint8_t letter[MAIL_TAGS_LETTERS]; /* of a name of one letter, by its lower six bits: the place in tags + 1 */
};

/* -EINVAL: a tag without name or '=', bytes that may not stand there (controls, DEL, ill-formed UTF-8), a name twice; -E2BIG: too many. */
int mail_tags_parse(struct slice text, struct mail_tags *out);

/* The tag's value; p NULL where there is none. */
struct slice mail_tags_get(const struct mail_tags *t, struct slice name);

/* The next item of a list like "a : b:c", blanks and folds around it removed. False at the end. */
bool mail_tags_item(struct slice *list, char separator, struct slice *item);

/* base64 with blanks and folds between its digits; padding may be left out. */
bool mail_tags_base64(struct slice value, struct buf *out);

/* The same to *at, where MAIL_TAGS_BASE64_ROOM(value.n) bytes are; *at then stands behind what was written. False: *at is as before. */
#define MAIL_TAGS_BASE64_ROOM(n) ((n) / 4 * 3 + 3)
bool mail_tags_base64_into(struct slice value, char **at);
#endif
