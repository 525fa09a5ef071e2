/* Which message a report is about: Message-IDs out of its returned part, or out of its own In-Reply-To and References; and our own trace field there, which
 * names what had no Message-ID. */
#include "base/general_settings.h"
#include "base/mail_header.h"
#include "base/mail_mime.h"
#include "base/text.h"
#include "smtpd/returns.h"

enum { MAX_ID = 998 };

struct gathering {
	struct arena *mem;
	struct slice *ids;
	size_t count, max;
};

/* Every <id> of a value. */
static void add_ids(struct gathering *g, struct slice value)
{
	while (value.n && g->count < g->max) {
		size_t open = slice_find(value, '<');
		struct slice rest = slice_skip(value, open);
		size_t close = slice_find(rest, '>');
		if (close == rest.n)
			return;
		struct slice id = slice_head(rest, close + 1);
		if (id.n > 2 && id.n <= MAX_ID)
			g->ids[g->count++] = arena_copy(g->mem, id);
		value = slice_skip(rest, close + 1);
	}
}

/* "by HOST (Porter) with ESMTP id ID" as smtpd/received writes it: the queue has noted such a message as <ID@HOST> (queue/intake). */
static void add_trace(struct gathering *g, struct slice text)
{
	struct buf b = BUF_INIT(MAX_ID);
	buf_addf(&b, "by %.*s (Porter", SLICE_FMT(general_settings.hostname));
	struct slice rest = slice_skip(text, slice_find_slice(text, buf_slice(&b)));
	struct slice id = slice_skip(rest, slice_find_slice(rest, SLICE(" id ")) + 4);
	size_t n = 0;
	while (n < id.n && (text_is_alnum((unsigned char)id.p[n]) || id.p[n] == '_' || id.p[n] == '-'))
		n++;
	buf_clear(&b);
	buf_addf(&b, "<%.*s@%.*s>", SLICE_FMT(slice_head(id, n)), SLICE_FMT(general_settings.hostname));
	if (n && !buf_full(&b) && g->count < g->max)
		g->ids[g->count++] = arena_copy(g->mem, buf_slice(&b));
	buf_free(&b);
}

static void add_fields(struct gathering *g, struct slice message, struct slice name, void (*add)(struct gathering *g, struct slice value))
{
	struct mail_header h;
	if (mail_header_parse(message, 2000, g->mem, &h))
		return;
	for (size_t i = 0; i < h.count; i++)
		if (slice_eq_nocase(h.fields[i].name, name))
			add(g, h.fields[i].value);
}

static bool on_part(void *arg, const struct mail_part *p)
{
	struct gathering *g = arg;
	bool returned = slice_eq(p->type, SLICE("message/rfc822")) || slice_eq(p->type, SLICE("text/rfc822-headers")) || slice_eq(p->type, SLICE("message/global")) ||
	                slice_eq(p->type, SLICE("message/global-headers"));
	struct buf text = BUF_INIT(256 << 10);
	if (returned) {
		mail_mime_decode(p, &text);
		add_fields(g, buf_slice(&text), SLICE("Message-ID"), add_ids);
		add_fields(g, buf_slice(&text), SLICE("Received"), add_trace);
	} else if (slice_eq(p->type, SLICE("message/disposition-notification"))) {
		add_fields(g, p->content, SLICE("Original-Message-ID"), add_ids);
	}
	buf_free(&text);
	return g->count < g->max;
}

/* The next line, without what quotes it; *folded: it goes on from the one before. */
static struct slice next_line(struct slice *body, bool *folded)
{
	struct slice line = slice_cut(*body, '\n', body);
	while (line.n && line.p[0] == '>')
		line = slice_skip(line, 1);
	*folded = line.n && (line.p[0] == ' ' || line.p[0] == '\t');
	return slice_trim(line);
}

/* Reports without parts quote the message as text (RFC 3464 is not everybody's): a line that begins with Message-ID, long ones on the line below. */
static void add_lines(struct gathering *g, struct slice body)
{
	bool folded, named = false;
	while (body.n && g->count < g->max) {
		struct slice line = next_line(&body, &folded);
		bool names = slice_starts_nocase(line, SLICE("Message-ID:"));
		if (names || (named && (folded || slice_starts(line, SLICE("<")))))
			add_ids(g, line);
		named = names;
		add_trace(g, line);
	}
}

size_t returns_message_ids(struct slice message, struct arena *mem, struct slice *ids, size_t max)
{
	struct gathering g = { mem, ids, 0, max };
	struct mail_header h;
	mail_mime_each(message, mem, on_part, &g);
	add_fields(&g, message, SLICE("In-Reply-To"), add_ids);
	add_fields(&g, message, SLICE("References"), add_ids);
	if (!g.count && mail_header_parse(message, 2000, mem, &h) == 0)
		add_lines(&g, h.body);
	return g.count;
}
