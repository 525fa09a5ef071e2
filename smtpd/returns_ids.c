/* Which message a report is about: Message-IDs out of its returned part, or out of its own In-Reply-To and References. */
#include "base/mail_header.h"
#include "base/mail_mime.h"
#include "smtpd/returns.h"

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
		if (id.n > 2 && id.n <= 998)
			g->ids[g->count++] = arena_copy(g->mem, id);
		value = slice_skip(rest, close + 1);
	}
}

static void add_fields(struct gathering *g, struct slice message, struct slice name)
{
	struct mail_header h;
	if (mail_header_parse(message, 2000, g->mem, &h))
		return;
	for (size_t i = 0; i < h.count; i++)
		if (slice_eq_nocase(h.fields[i].name, name))
			add_ids(g, h.fields[i].value);
}

static bool on_part(void *arg, const struct mail_part *p)
{
	struct gathering *g = arg;
	bool returned = slice_eq(p->type, SLICE("message/rfc822")) || slice_eq(p->type, SLICE("text/rfc822-headers")) || slice_eq(p->type, SLICE("message/global")) ||
	                slice_eq(p->type, SLICE("message/global-headers"));
	struct buf text = BUF_INIT(256 << 10);
	if (returned) {
		mail_mime_decode(p, &text);
		add_fields(g, buf_slice(&text), SLICE("Message-ID"));
	} else if (slice_eq(p->type, SLICE("message/disposition-notification"))) {
		add_fields(g, p->content, SLICE("Original-Message-ID"));
	}
	buf_free(&text);
	return g->count < g->max;
}

/* Reports without parts quote the message as text (RFC 3464 is not everybody's): a line that begins with Message-ID. */
static void add_lines(struct gathering *g, struct slice body)
{
	while (body.n && g->count < g->max) {
		size_t end = slice_find(body, '\n');
		struct slice line = slice_head(body, end);
		while (line.n && (line.p[0] == '>' || line.p[0] == ' ' || line.p[0] == '\t'))
			line = slice_skip(line, 1);
		if (slice_starts_nocase(line, SLICE("Message-ID:")))
			add_ids(g, line);
		body = slice_skip(body, end + 1);
	}
}

size_t returns_message_ids(struct slice message, struct arena *mem, struct slice *ids, size_t max)
{
	struct gathering g = { mem, ids, 0, max };
	struct mail_header h;
	mail_mime_each(message, mem, on_part, &g);
	add_fields(&g, message, SLICE("In-Reply-To"));
	add_fields(&g, message, SLICE("References"));
	if (!g.count && mail_header_parse(message, 2000, mem, &h) == 0)
		add_lines(&g, h.body);
	return g.count;
}
