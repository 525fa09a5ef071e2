/* A message in hand: its header section, its body, our fields on top. What goes to files is smtpd/message_spill's. */
#include "smtpd/message.h"

#include <errno.h>

#include "base/mail_header.h"
#include "base/mem.h"
#include "smtpd/message_spill.h"

enum { MAX_BODY_IN_MEMORY = 512 << 20 }; /* what a filter may put in place of a body; size-limit is far below */

void message_init(struct message *m, struct worker *w, void (*on_written)(void *arg), void *arg)
{
	*m = (struct message){ .worker = w, .on_written = on_written, .arg = arg };
	buf_init(&m->head, MESSAGE_MAX_HEAD + 4);
	buf_init(&m->body, MAX_BODY_IN_MEMORY);
	buf_init(&m->front, 8192);
	buf_init(&m->added, MESSAGE_MAX_ADDED);
}

void message_free(struct message *m)
{
	for (size_t i = 0; i < m->spill_count; i++)
		spill_free(m->spills[i]);
	m->spill_count = 0;
	crypto_mac_free(m->digest);
	m->digest = NULL;
	spill_forget_reader(m);
	buf_free(&m->head);
	buf_free(&m->lead);
	buf_free(&m->body);
	buf_free(&m->front);
	buf_free(&m->added);
}

bool message_is_spilled(const struct message *m)
{
	return m->spill_count > 0;
}

bool message_wants_spill(const struct message *m)
{
	return !m->spill_count && m->head.n + m->body.n > MESSAGE_MAX_MEMORY;
}

/* -- what comes in ------------------------------------------------------------------------------------------------------------------ */

/* A Received field of ours: "... by HOST (Porter) ..." (smtpd/received). */
static bool is_own_trace(const struct message *m, struct slice value)
{
	size_t at = slice_find_slice(value, SLICE("by "));
	struct slice rest = slice_skip(value, at + 3);
	return m->host.n && at < value.n && slice_starts_nocase(rest, m->host) && slice_starts(slice_skip(rest, m->host.n), SLICE(" (Porter)"));
}

/* "From " is what an mbox has in front of its fields. */
static bool is_field(struct slice line)
{
	struct mail_field f;
	struct slice in = line;
	return mail_field_next(&in, &f) != MAIL_FIELD_BAD || slice_starts(line, SLICE("From ")) || slice_starts(line, SLICE(">From "));
}

/* The first line of it is there, or all of it is. */
static void look_at_first_line(struct message *m)
{
	struct slice head = buf_slice(&m->head);
	m->begun = true;
	m->headless = head.n && !is_field(slice_head(head, slice_find(head, '\n') + 1));
}

/* All of it is body: to filters and signatures as to readers. What has been written to files by now has no room for the empty line. */
static void take_for_body(struct message *m)
{
	m->lead = m->head;
	m->body_length += m->lead.n;
	if (!m->spill_count)
		buf_add(&m->body, buf_slice(&m->lead));
	m->changed |= m->spill_count > 0;
	buf_init(&m->head, MESSAGE_MAX_HEAD + 4);
	buf_add(&m->head, SLICE("\r\n"));
}

/* The fields are counted, and what of them tells the way. */
static int count_fields(struct message *m)
{
	struct slice in = buf_slice(&m->head);
	struct mail_field f;
	enum mail_field_kind kind;
	size_t count = 0;
	while ((kind = mail_field_next(&in, &f)) != MAIL_FIELD_END) {
		if (++count > MESSAGE_MAX_FIELDS)
			return -EMSGSIZE;
		if (kind != MAIL_FIELD || !slice_eq_nocase(f.name, SLICE("received")))
			continue;
		m->received_count++;
		m->own_count += is_own_trace(m, f.value);
	}
	return 0;
}

static int end_head(struct message *m)
{
	m->head_done = true;
	if (!m->begun)
		look_at_first_line(m);
	if (m->headless)
		take_for_body(m);
	m->received_head = m->headless && m->spill_count ? 0 : m->head.n;
	m->received_head_lf = m->received_head;
	for (size_t i = 0; i < m->received_head; i++)
		m->received_head_lf -= m->head.p[i] == '\r';
	return count_fields(m);
}

/* The head grows by s; returns how much of s was the head's. -EMSGSIZE: too long. */
static int add_to_head(struct message *m, struct slice s, size_t *taken)
{
	size_t before = m->head.n, from = before < 3 ? 0 : before - 3;
	if (s.n > MESSAGE_MAX_HEAD + 4)
		s = slice_head(s, MESSAGE_MAX_HEAD + 4);
	size_t room = m->head.max - before;
	buf_add(&m->head, slice_head(s, room));
	struct slice head = buf_slice(&m->head), fresh = slice_skip(head, before);
	if (!m->begun && slice_find(fresh, '\n') < fresh.n)
		look_at_first_line(m);
	if (m->headless) {
		*taken = fresh.n;
		return end_head(m);
	}
	size_t end = slice_starts(head, SLICE("\r\n")) ? 2 : from + slice_find_slice(slice_skip(head, from), SLICE("\r\n\r\n")) + 4;
	if (end > head.n) {
		*taken = head.n - before;
		return *taken < s.n || head.n > MESSAGE_MAX_HEAD ? -EMSGSIZE : 0;
	}
	buf_truncate(&m->head, end);
	*taken = end - before;
	return end_head(m);
}

int message_add(struct message *m, struct slice s)
{
	m->length += s.n;
	if (m->digest)
		crypto_mac_add(m->digest, s);
	if (m->spill_count)
		for (size_t i = 0; i < m->spill_count; i++)
			spill_add(m->spills[i], s);
	size_t taken = 0;
	if (!m->head_done) {
		int error = add_to_head(m, s, &taken);
		if (error)
			return error;
		s = slice_skip(s, taken);
	}
	m->body_length += s.n;
	return m->spill_count ? 0 : buf_add(&m->body, s);
}

int message_end(struct message *m)
{
	int error = m->head_done ? 0 : end_head(m);
	m->ended = true;
	return error;
}

/* -- what goes out -------------------------------------------------------------------------------------------------------------------- */

void message_add_lines(struct buf *out, struct slice s, bool lf)
{
	if (!lf) {
		buf_add(out, s);
		return;
	}
	char *to = buf_room(out, s.n), *from = to;
	while (to && s.n) {
		const char *cr = memchr(s.p, '\r', s.n);
		size_t n = cr ? (size_t)(cr - s.p) : s.n;
		memcpy(to, s.p, n);
		to += n;
		s = slice_skip(s, cr ? n + 1 : n);
	}
	if (to)
		buf_used(out, (size_t)(to - from));
}

size_t message_print_size(const struct message *m, struct slice return_path)
{
	return return_path.n + m->added.n + m->front.n + m->head.n + m->body.n;
}

void message_print(const struct message *m, bool lf, struct slice return_path, struct buf *out)
{
	buf_room(out, message_print_size(m, return_path)); /* grows once */
	message_add_lines(out, return_path, lf);
	message_add_lines(out, buf_slice(&m->added), lf);
	message_add_lines(out, buf_slice(&m->front), lf);
	message_add_lines(out, buf_slice(&m->head), lf);
	message_add_lines(out, buf_slice(&m->body), lf);
}

/* -- changes ---------------------------------------------------------------------------------------------------------------------------- */

/* Folded text with any line ends to CRLF; a line that isn't a fold gets its blank, so that no value makes a field of its own. */
static void add_folded(struct buf *out, struct slice value)
{
	struct slice rest = value;
	bool first = true;
	while (rest.p) {
		struct slice line = slice_cut(rest, '\n', &rest);
		while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
			line.n--;
		if (!line.n)
			continue;
		if (!first)
			buf_add_cstr(out, line.p[0] == ' ' || line.p[0] == '\t' ? "\r\n" : "\r\n ");
		first = false;
		for (size_t i = 0; i < line.n; i++)
			buf_add_byte(out, line.p[i] == '\r' || line.p[i] == '\0' ? ' ' : line.p[i]);
	}
}

int message_add_field(struct message *m, struct slice name, struct slice value)
{
	struct buf field = BUF_INIT(m->added.max - m->added.n);
	buf_add(&field, name);
	buf_add(&field, SLICE(": "));
	add_folded(&field, value);
	buf_add(&field, SLICE("\r\n"));
	int error = buf_full(&field) ? -EMSGSIZE : 0;
	if (!error) {
		buf_add(&field, buf_slice(&m->added));
		error = buf_full(&field) ? -EMSGSIZE : 0;
	}
	if (!error) {
		buf_clear(&m->added);
		buf_add(&m->added, buf_slice(&field));
	}
	buf_free(&field);
	return error;
}

int message_set_head(struct message *m, struct slice head)
{
	if (head.n > MESSAGE_MAX_HEAD)
		return -EMSGSIZE;
	struct buf fresh = BUF_INIT(m->head.max);
	buf_add(&fresh, head);
	buf_free(&m->head);
	m->head = fresh;
	m->changed = true;
	return 0;
}

int message_set_body(struct message *m, struct slice body)
{
	if (body.n > m->body.max)
		return -EMSGSIZE;
	struct buf fresh = BUF_INIT(m->body.max);
	buf_add(&fresh, body);
	buf_free(&m->body);
	m->body = fresh;
	m->body_length = body.n;
	m->changed = m->body_replaced = true;
	return 0;
}

/* -- reading ---------------------------------------------------------------------------------------------------------------------------- */

void message_read_body(struct message *m, uint64_t cursor, size_t max, void (*done)(void *arg, struct slice bytes, uint64_t next, int error), void *arg)
{
	spill_read(m, cursor, max, done, arg);
}

void message_start_digest(struct message *m)
{
	m->digest = crypto_mac_new(m->digest_key);
	if (!m->headless) /* whose empty line is ours */
		crypto_mac_add(m->digest, buf_slice(&m->head));
	crypto_mac_add(m->digest, buf_slice(&m->body));
}

void message_digest(struct message *m, uint8_t out[CRYPTO_SHA256])
{
	if (!m->digest)
		message_start_digest(m);
	crypto_mac_value(m->digest, out);
}
