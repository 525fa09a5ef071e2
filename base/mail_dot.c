/* A machine of five states over bytes. Clean lines are found by scans and handed on as one run, so that the cost is that of memchr. */
#include "base/mail_dot.h"

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

static void hand(struct mail_dot *d, const struct mail_dot_sink *sink, const char *p, size_t n)
{
	if (n && d->spoil == MAIL_DOT_CLEAN)
		sink->bytes(sink->arg, slice(p, n));
}

static void end_line(struct mail_dot *d)
{
	if (d->line > d->longest)
		d->longest = d->line;
	d->line = 0;
}

/* The first byte that means something: CR, LF, NUL. */
static size_t plain_run(const char *p, size_t n)
{
	const char *cr = memchr(p, '\r', n);
	size_t run = cr ? (size_t)(cr - p) : n;
	const char *lf = memchr(p, '\n', run);
	run = lf ? (size_t)(lf - p) : run;
	const char *nul = memchr(p, '\0', run);
	return nul ? (size_t)(nul - p) : run;
}

static void newline(struct mail_dot *d, const struct mail_dot_sink *sink)
{
	hand(d, sink, "\r\n", 2);
	end_line(d);
	d->at = MAIL_DOT_LINE_START;
}

/* One byte that is not plain, or in a state where every byte counts. True: the end. */
static bool step(struct mail_dot *d, char c, const struct mail_dot_sink *sink)
{
	switch (d->at) {
	case MAIL_DOT_CR:
		if (c == '\n') {
			newline(d, sink);
			return false;
		}
		spoil(d, MAIL_DOT_BARE_CR);
		d->at = MAIL_DOT_IN_LINE;
		return step(d, c, sink);
	case MAIL_DOT_LINE_START:
		if (c == '.') {
			d->at = MAIL_DOT_DOT;
			return false;
		}
		d->at = MAIL_DOT_IN_LINE;
		return step(d, c, sink);
	case MAIL_DOT_DOT:
		if (c == '\r') {
			d->at = MAIL_DOT_DOT_CR;
			return false;
		}
		if (c == '\n' && d->lenient)
			return true;
		d->at = MAIL_DOT_IN_LINE;   /* the dot was stuffing */
		return step(d, c, sink);
	case MAIL_DOT_DOT_CR:
		if (c == '\n')
			return true;
		spoil(d, MAIL_DOT_BARE_CR);
		d->at = MAIL_DOT_IN_LINE;
		return step(d, c, sink);
	case MAIL_DOT_IN_LINE:
		break;
	}
	if (c == '\r') {
		d->at = MAIL_DOT_CR;
	} else if (c == '\n') {
		if (!d->lenient)
			spoil(d, MAIL_DOT_BARE_LF);
		if (d->lenient)
			newline(d, sink);
	} else if (c == '\0') {
		spoil(d, MAIL_DOT_NUL);
	} else {
		hand(d, sink, &c, 1);
		d->line++;
	}
	return false;
}

/* Whole lines as they stand, up to one that begins with a dot, isn't whole, or isn't clean: so a sink gets few large runs. Returns their bytes. */
static size_t clean_lines(struct mail_dot *d, const char *p, size_t n)
{
	size_t at = 0;
	while (at < n && (!at || p[at] != '.')) {
		size_t run = plain_run(p + at, n - at);
		if (at + run + 2 > n || p[at + run] != '\r' || p[at + run + 1] != '\n')
			break;
		d->line += run;
		end_line(d);
		at += run + 2;
	}
	return at;
}

bool mail_dot_data(struct mail_dot *d, struct slice *in, const struct mail_dot_sink *sink)
{
	const char *p = in->p, *end = in->p + in->n;
	while (p < end) {
		if (d->at == MAIL_DOT_IN_LINE || (d->at == MAIL_DOT_LINE_START && *p != '.')) {
			size_t n = clean_lines(d, p, (size_t)(end - p));
			d->at = n ? MAIL_DOT_LINE_START : d->at;
			if (!n && (n = plain_run(p, (size_t)(end - p)))) {
				d->line += n;
				d->at = MAIL_DOT_IN_LINE;
			}
			hand(d, sink, p, n);
			p += n;
			if (n)
				continue;
		}
		if (step(d, *p++, sink)) {
			*in = slice(p, (size_t)(end - p));
			return true;
		}
	}
	*in = slice(end, 0);
	return false;
}

void mail_dot_chunk(struct mail_dot *d, struct slice s, bool last, const struct mail_dot_sink *sink)
{
	const char *p = s.p, *end = s.p + s.n;
	while (p < end) {
		if (d->last_cr) {
			d->last_cr = false;
			newline(d, sink);
			if (*p == '\n') {
				p++;
				continue;
			}
		}
		size_t run = plain_run(p, (size_t)(end - p));
		hand(d, sink, p, run);
		d->line += run;
		p += run;
		if (p == end)
			break;
		if (*p == '\r')
			d->last_cr = true;
		else if (*p == '\n')
			newline(d, sink);
		else
			spoil(d, MAIL_DOT_NUL);
		p++;
	}
	if (last && d->last_cr) {
		d->last_cr = false;
		newline(d, sink);
	}
}
