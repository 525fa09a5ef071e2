#ifndef BASE_MAIL_CANON_H
#define BASE_MAIL_CANON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/mail_header.h"
#include "base/slice.h"

/* Canonical forms of header fields and bodies (RFC 6376, 3.4), as streams of runs into a sink: runs of bytes that the form leaves as they are
 * go to the sink where they lie, so that a digest costs little more than its hash. */
enum mail_canon { CANON_SIMPLE, CANON_RELAXED };

typedef void (*mail_canon_sink)(void *arg, const char *p, size_t n);

/* A body, chunk by chunk, cut anywhere; lines end with CRLF. Zeroed with form, sink and arg set it is ready. */
struct mail_canon_body {
	enum mail_canon form;
	mail_canon_sink sink;
	void *arg;
	uint64_t line_ends;   /* CRLFs that wait for what follows them */
	bool cr;              /* a CR that waits for its LF */
	bool blank;           /* relaxed: blanks that wait for what follows them */
	bool any;             /* something went to the sink */
};

void mail_canon_add(struct mail_canon_body *b, struct slice chunk);
void mail_canon_end(struct mail_canon_body *b);

/* One field; its line end is CRLF whatever it was, left out where `last` (the signature's own field). `without`: a part of the field that is
 * treated as empty (the value of b=), p NULL for none. */
void mail_canon_field(enum mail_canon form, const struct mail_field *f, struct slice without, bool last, mail_canon_sink sink, void *arg);
#endif
