#ifndef BASE_MAIL_PATH_H
#define BASE_MAIL_PATH_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/slice.h"

/* RFC 5321, 4.5.3.1 says what must be taken (64 bytes of local-part), and asks for more where it can be: addresses with SRS, VERP and BATV tags are longer. As text,
 * quotes included, an address is no longer than one of 64 bytes that all need a backslash. */
enum { MAIL_PATH_MAX_LOCAL = 255, MAIL_PATH_MAX_TEXT = 2 * 64 + 2 + 1 + 255 };

/* A reverse-path or forward-path, as carried by MAIL and RCPT (RFC 5321, 4.1.2; UTF-8 by RFC 6531).
 * The null reverse-path "<>" has an empty local_part and an empty domain. "<postmaster>" (RCPT, any case) has an empty domain. */
struct mail_path {
	struct slice local_part;  /* octets, quoting removed, <= MAIL_PATH_MAX_LOCAL */
	struct slice domain;      /* lower case A-labels or U-labels as sent, or "[literal]", <= 255 (4.5.3.1.2) */
	bool utf8;                /* holds bytes outside ASCII: needs SMTPUTF8 */
};

/* Read one path from the front of *in, for example "<ann@example.org> SIZE=900". A source route is read and dropped (C.).
 * Returns 0: *out is set, its views live in mem, *in begins after the '>'.
 * Returns -EINVAL: *in and *out are as before; *why is a fixed phrase for a 501 reply. */
int mail_path_parse(struct slice *in, struct arena *mem, struct mail_path *out, const char **why);

/* A bare address "local@domain" (maps, command lines), the whole of s, by the same rules. */
int mail_path_parse_address(struct slice s, struct arena *mem, struct mail_path *out, const char **why);

/* "local@domain", the local-part quoted where it must be; "" for the null path. */
struct buf;
int mail_path_print(struct buf *out, const struct mail_path *p);

/* Would it be read back? For addresses that are made here. */
bool mail_path_fits(const struct mail_path *p);

bool mail_path_is_null(const struct mail_path *p);
#endif
