/* A reader of address lists: words up to the next special that decides what they were (a name, a local-part, a group). */
#include "base/mail_address.h"

#include <errno.h>

#include "base/text.h"

struct reader {
	struct slice in;
	struct arena *mem;
	struct mail_address *list;
	size_t count, room, max;
};

/* Words read so far: as a display name and, where they have the shape of one, as a local-part. */
struct words {
	struct slice name;     /* joined by blanks as they stood */
	struct slice local;    /* joined without blanks */
	size_t count;          /* words and dots */
	bool is_local;         /* word *("." word) */
	bool want_word;        /* nothing yet, or a dot stands last */
	bool gap;              /* blanks or a comment were skipped since the last word */
};

/* Skips blanks, line ends and comments (nested up to a limit). False: a comment has no end. */
static bool skip_cfws(struct reader *r)
{
	size_t depth = 0;
	while (r->in.n) {
		char c = r->in.p[0];
		if (c == '(') {
			if (++depth > MAIL_ADDRESS_MAX_DEPTH)
				return false;
		} else if (c == ')' && depth) {
			depth--;
		} else if (c == '\\' && depth) {
			r->in = slice_skip(r->in, 1);
		} else if (!depth && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
			return true;
		}
		r->in = slice_skip(r->in, 1);
	}
	return depth == 0;
}

static bool is_atext(unsigned char c)
{
	return c > ' ' && c != 0x7f && !memchr("()<>[]:;@\\,.\"", c, 13);
}

static bool read_atom(struct reader *r, struct slice *out)
{
	size_t n = 0;
	while (n < r->in.n && is_atext((unsigned char)r->in.p[n]))
		n++;
	*out = slice(r->in.p, n);
	r->in = slice_skip(r->in, n);
	return n > 0;
}

/* Behind the opening quote; line ends and quoting are removed. */
static bool read_quoted(struct reader *r, struct slice *out)
{
	char *to = arena_new(r->mem, r->in.n + 1);
	if (!to)
		return false;
	size_t n = 0;
	for (size_t i = 0; i < r->in.n; i++) {
		char c = r->in.p[i];
		if (c == '"') {
			*out = slice(to, n);
			r->in = slice_skip(r->in, i + 1);
			return true;
		}
		if (c == '\\' && i + 1 < r->in.n)
			c = r->in.p[++i];
		else if (c == '\r' || c == '\n')
			continue;
		if (c == '\0')
			return false;
		to[n++] = c;
	}
	return false;
}

static struct slice join(struct arena *mem, struct slice a, struct slice b, bool gap)
{
	if (!a.n && !gap)
		return b;
	char *to = arena_new(mem, a.n + b.n + 1);
	if (!to)
		return SLICE_NONE;
	memcpy(to, a.p, a.n);
	if (gap)
		to[a.n] = ' ';
	if (b.n)
		memcpy(to + a.n + gap, b.p, b.n);
	return slice(to, a.n + gap + b.n);
}

static bool add_word(struct reader *r, struct words *w, struct slice word, bool is_dot)
{
	if (w->count > 200) /* nobody's name; joining must stay linear enough */
		return false;
	if (is_dot ? w->want_word : !w->want_word)
		w->is_local = false;
	w->want_word = is_dot;
	w->name = join(r->mem, w->name, word, w->gap && w->count);
	w->local = join(r->mem, w->local, word, false);
	w->count++;
	return w->name.p && w->local.p;
}

static int read_words(struct reader *r, struct words *w)
{
	*w = (struct words){ .name = SLICE(""), .local = SLICE(""), .is_local = true, .want_word = true };
	for (;;) {
		size_t before = r->in.n;
		if (!skip_cfws(r))
			return -EINVAL;
		w->gap = r->in.n < before;
		struct slice word;
		if (r->in.n && r->in.p[0] == '"') {
			r->in = slice_skip(r->in, 1);
			if (!read_quoted(r, &word) || !add_word(r, w, word, false))
				return -EINVAL;
		} else if (r->in.n && r->in.p[0] == '.') {
			r->in = slice_skip(r->in, 1);
			if (!add_word(r, w, SLICE("."), true))
				return -EINVAL;
		} else if (read_atom(r, &word)) {
			if (!add_word(r, w, word, false))
				return -EINVAL;
		} else {
			return 0;
		}
	}
}

static int read_literal(struct reader *r, struct slice *out)
{
	size_t n = slice_find(r->in, ']');
	if (n == r->in.n)
		return -EINVAL;
	for (size_t i = 1; i < n; i++)
		if (!text_is_print((unsigned char)r->in.p[i]) || r->in.p[i] == '[' || r->in.p[i] == '\\')
			return -EINVAL;
	*out = text_lower(r->mem, slice(r->in.p, n + 1));
	r->in = slice_skip(r->in, n + 1);
	return out->p ? 0 : -EINVAL;
}

/* Behind the '@'. */
static int read_domain(struct reader *r, struct slice *out)
{
	if (!skip_cfws(r))
		return -EINVAL;
	if (r->in.n && r->in.p[0] == '[')
		return read_literal(r, out);
	struct words w;
	if (r->in.n && r->in.p[0] == '"')
		return -EINVAL;
	int failed = read_words(r, &w);
	if (failed)
		return failed;
	if (!w.count || !w.is_local || w.want_word || slice_find(w.local, ' ') < w.local.n || slice_find(w.local, '"') < w.local.n)
		return -EINVAL;
	*out = text_lower(r->mem, w.local);
	return out->p ? 0 : -EINVAL;
}

/* Behind the '<': [route ":"] addr-spec ">". */
static int read_angle(struct reader *r, struct mail_address *a)
{
	struct words w;
	int failed = 0;
	bool route = false;
	if (!skip_cfws(r))
		return -EINVAL;
	for (size_t hops = 0; r->in.n && (r->in.p[0] == '@' || r->in.p[0] == ',') && hops < 64; hops++) {
		char c = r->in.p[0];
		r->in = slice_skip(r->in, 1);
		if (c == '@' && (failed = read_domain(r, &a->domain)))
			return failed;
		if (!skip_cfws(r))
			return -EINVAL;
		route = true;
	}
	if (route) {
		if (!r->in.n || r->in.p[0] != ':')
			return -EINVAL;
		r->in = slice_skip(r->in, 1);
	}
	failed = read_words(r, &w);
	if (failed || !w.count || !w.is_local || w.want_word)
		return -EINVAL;
	a->local_part = w.local;
	a->domain = SLICE("");
	if (r->in.n && r->in.p[0] == '@') {
		r->in = slice_skip(r->in, 1);
		failed = read_domain(r, &a->domain);
	}
	if (failed || !skip_cfws(r) || !r->in.n || r->in.p[0] != '>')
		return -EINVAL;
	r->in = slice_skip(r->in, 1);
	return skip_cfws(r) ? 0 : -EINVAL;
}

static int add_address(struct reader *r, const struct mail_address *a)
{
	if (r->count == r->max)
		return -E2BIG;
	if (r->count == r->room) {
		r->room = r->room ? r->room * 2 : 2;
		struct mail_address *more = ARENA_ARRAY(r->mem, struct mail_address, r->room);
		if (!more)
			return -E2BIG;
		if (r->count)
			memcpy(more, r->list, r->count * sizeof *more);
		r->list = more;
	}
	r->list[r->count++] = *a;
	return 0;
}

/* One mailbox, or nothing (obs-addr-list has empty elements). *group: a ':' stood behind the words, its members come next. */
static int read_mailbox(struct reader *r, bool *group)
{
	struct words w;
	struct mail_address a = { 0 };
	int failed = read_words(r, &w);
	if (failed)
		return failed;
	char c = r->in.n ? r->in.p[0] : ',';
	*group = c == ':';
	if (c == '<') {
		r->in = slice_skip(r->in, 1);
		a.name = w.name;
		failed = read_angle(r, &a);
	} else if (c == '@') {
		r->in = slice_skip(r->in, 1);
		a.local_part = w.local;
		failed = w.count && w.is_local && !w.want_word ? read_domain(r, &a.domain) : -EINVAL;
	} else if (c == ':') {
		r->in = slice_skip(r->in, 1);
		return w.count ? 0 : -EINVAL;
	} else if (w.count) {
		a.local_part = w.name;
	} else {
		return 0;
	}
	return failed ? failed : add_address(r, &a);
}

int mail_address_parse(struct slice value, size_t max, struct arena *mem, struct mail_address **out, size_t *count)
{
	struct reader r = { .in = value, .mem = mem, .max = max };
	bool inside = false;
	if (value.n > MAIL_ADDRESS_MAX_VALUE)
		return -E2BIG;
	while (r.in.n) {
		bool group = false;
		int failed = read_mailbox(&r, &group);
		if (failed)
			return failed;
		if (group) {
			if (inside)
				return -EINVAL;
			inside = true;
			continue;
		}
		if (inside && r.in.n && r.in.p[0] == ';') {
			inside = false;
			r.in = slice_skip(r.in, 1);
			if (!skip_cfws(&r))
				return -EINVAL;
		}
		if (r.in.n && r.in.p[0] != ',')
			return -EINVAL;
		r.in = slice_skip(r.in, 1);
	}
	if (inside)
		return -EINVAL;
	*out = r.list;
	*count = r.count;
	return 0;
}
