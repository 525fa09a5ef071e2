#ifndef BASE_MAIL_DOT_H
#define BASE_MAIL_DOT_H
#include <stdbool.h>
#include <stddef.h>
#include "base/buf.h"
#include "base/slice.h"

/* Content as it comes by DATA (RFC 5321, 4.1.1.4 and 4.5.2) and by BDAT (RFC 3030). This is the only code that knows CRLF.CRLF: nothing but those five
 * bytes ends content (security-kit S1). Bare CR, bare LF and NUL never pass on: by DATA they spoil the message, which is read to its true end and then
 * refused; by BDAT, whose length frames it, bare CR and LF become CRLF and NUL spoils. */
enum mail_dot_spoil { MAIL_DOT_CLEAN, MAIL_DOT_BARE_CR, MAIL_DOT_BARE_LF, MAIL_DOT_NUL };

struct mail_dot {
	enum { MAIL_DOT_LINE_START, MAIL_DOT_IN_LINE, MAIL_DOT_CR, MAIL_DOT_DOT, MAIL_DOT_DOT_CR } at;
	enum mail_dot_spoil spoil;
	bool lenient;      /* authenticated submission: LF alone becomes CRLF before the end is looked for */
	bool last_cr;      /* BDAT: the last byte was a CR */
};

void mail_dot_begin(struct mail_dot *d, bool lenient);

/* What a piece of input holds: runs of content, handed on in order, CRLF line ends, dots unstuffed. */
struct mail_dot_sink {
	void (*bytes)(void *arg, struct slice s);
	void *arg;
};

/* Takes in from its front. Returns true when the end was found: *in begins behind it. False: all of *in was taken, more is wanted. */
bool mail_dot_data(struct mail_dot *d, struct slice *in, const struct mail_dot_sink *sink);

/* The same for a chunk of BDAT: all of s is content; last: it is the message's end. */
void mail_dot_chunk(struct mail_dot *d, struct slice s, bool last, const struct mail_dot_sink *sink);

const char *mail_dot_spoil_text(enum mail_dot_spoil s);
#endif
