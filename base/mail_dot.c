/* A machine of five states over bytes. Clean blocks are found many bytes at a time and handed on as one run; the machine sees only the others. */
#include "base/mail_dot.h"

#include <string.h>

void mail_dot_begin(struct mail_dot *d, bool lenient)
{
	*d = (struct mail_dot){ .at = MAIL_DOT_LINE_START, .lenient = lenient };
}

const char *mail_dot_spoil_text(enum mail_dot_spoil s)
{
	switch (s) {
	case MAIL_DOT_CLEAN:
		return "clean";
	case MAIL_DOT_BARE_CR:
		return "a bare CR in the content";
	case MAIL_DOT_BARE_LF:
		return "a bare LF in the content";
	case MAIL_DOT_NUL:
		return "a NUL byte in the content";
	}
	return "";
}

static void spoil(struct mail_dot *d, enum mail_dot_spoil how)
{
	if (d->spoil == MAIL_DOT_CLEAN)
		d->spoil = how;
}

enum { BLOCK = 64, SHORT = 64 };

/* On its way to the sink: what comes in short pieces is gathered, since the sink's price is for each piece. */
struct gather {
	const struct mail_dot_sink *sink;
	size_t n;
	char bytes[2048];
};

/* An initializer would clear the bytes each time. */
static void gather_begin(struct gather *g, const struct mail_dot_sink *sink)
{
	g->sink = sink;
	g->n = 0;
}

static void hand_gathered(struct gather *g)
{
	if (g->n)
		g->sink->bytes(g->sink->arg, slice(g->bytes, g->n));
	g->n = 0;
}

static void hand(struct mail_dot *d, struct gather *g, const char *p, size_t n)
{
	if (d->spoil != MAIL_DOT_CLEAN)
		return;
	if (n > sizeof g->bytes - g->n || n > SHORT)
		hand_gathered(g);
	if (n > SHORT) {
		g->sink->bytes(g->sink->arg, slice(p, n));
		return;
	}
	memcpy(g->bytes + g->n, p, n);
	g->n += n;
}

/* No byte of the block ends a clean run, as far as it and the byte behind it tell: CR and LF stand together, no dot begins a line, there is no NUL. One expression without
 * a branch, so that the compiler makes vectors of it. */
static bool is_clean_block(const char *p)
{
	unsigned char bad = 0;
	for (size_t i = 0; i < BLOCK; i++)
		bad |= (unsigned char)((p[i] == '\0') | ((p[i] == '\r') ^ (p[i + 1] == '\n')) | ((p[i] == '\n') & (p[i + 1] == '.')));
	return !bad;
}

/* Clean bytes at p, inside of a line or at the start of one that has no dot there: whole blocks, a CRLF never torn. A sink gets few large runs. */
static size_t clean_run(const char *p, size_t n)
{
	size_t run = 0;
	if (*p == '\n')
		return 0;
	while (run + BLOCK < n && is_clean_block(p + run))
		run += BLOCK;
	return run && p[run - 1] == '\r' ? run - 1 : run;
}

/* Bytes up to the first that means something: CR, LF, NUL. Nothing behind it is looked at: that would be looked at again for each of them. */
static size_t plain_run(const char *p, size_t n)
{
	size_t run = 0;
	while (run < n && p[run] != '\r' && p[run] != '\n' && p[run] != '\0')
		run++;
	return run;
}

/* What can be handed on as it stands. */
static size_t good_run(const char *p, size_t n)
{
	size_t run = clean_run(p, n);
	return run ? run : plain_run(p, n);
}

static void newline(struct mail_dot *d, struct gather *g)
{
	hand(d, g, "\r\n", 2);
	d->at = MAIL_DOT_LINE_START;
}

/* One byte that is not plain, or in a state where every byte counts. True: the end. */
static bool step(struct mail_dot *d, char c, struct gather *g)
{
	switch (d->at) {
	case MAIL_DOT_CR:
		if (c == '\n') {
			newline(d, g);
			return false;
		}
		spoil(d, MAIL_DOT_BARE_CR);
		d->at = MAIL_DOT_IN_LINE;
		return step(d, c, g);
	case MAIL_DOT_LINE_START:
		if (c == '.') {
			d->at = MAIL_DOT_DOT;
			return false;
		}
		d->at = MAIL_DOT_IN_LINE;
		return step(d, c, g);
	case MAIL_DOT_DOT:
		if (c == '\r') {
			d->at = MAIL_DOT_DOT_CR;
			return false;
		}
		if (c == '\n' && d->lenient)
			return true;
		d->at = MAIL_DOT_IN_LINE;   /* the dot was stuffing */
		return step(d, c, g);
	case MAIL_DOT_DOT_CR:
		if (c == '\n')
			return true;
		spoil(d, MAIL_DOT_BARE_CR);
		d->at = MAIL_DOT_IN_LINE;
		return step(d, c, g);
	case MAIL_DOT_IN_LINE:
		break;
	}
	if (c == '\r') {
		d->at = MAIL_DOT_CR;
	} else if (c == '\n') {
		if (!d->lenient)
			spoil(d, MAIL_DOT_BARE_LF);
		if (d->lenient)
			newline(d, g);
	} else if (c == '\0') {
		spoil(d, MAIL_DOT_NUL);
	} else {
		hand(d, g, &c, 1);
	}
	return false;
}

bool mail_dot_data(struct mail_dot *d, struct slice *in, const struct mail_dot_sink *sink)
{
	struct gather g;
	gather_begin(&g, sink);
	const char *p = in->p, *end = in->p + in->n;
	bool over = false;
	while (p < end && !over) {
		if (d->at == MAIL_DOT_IN_LINE || (d->at == MAIL_DOT_LINE_START && *p != '.')) {
			size_t n = good_run(p, (size_t)(end - p));
			if (n)
				d->at = p[n - 1] == '\n' ? MAIL_DOT_LINE_START : MAIL_DOT_IN_LINE;
			hand(d, &g, p, n);
			p += n;
			if (n)
				continue;
		}
		over = step(d, *p++, &g);
	}
	hand_gathered(&g);
	*in = slice(p, (size_t)(end - p));
	return over;
}

void mail_dot_chunk(struct mail_dot *d, struct slice s, bool last, const struct mail_dot_sink *sink)
{
	struct gather g;
	gather_begin(&g, sink);
	const char *p = s.p, *end = s.p + s.n;
	while (p < end) {
		if (d->last_cr) {
			d->last_cr = false;
			newline(d, &g);
			if (*p == '\n') {
				p++;
				continue;
			}
		}
		size_t run = good_run(p, (size_t)(end - p));
		hand(d, &g, p, run);
		p += run;
		if (run)
			continue;
		if (*p == '\r')
			d->last_cr = true;
		else if (*p == '\n')
			newline(d, &g);
		else
			spoil(d, MAIL_DOT_NUL);
		p++;
	}
	if (last && d->last_cr) {
		d->last_cr = false;
		newline(d, &g);
	}
	hand_gathered(&g);
}
