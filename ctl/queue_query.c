/* Queries over the spool. */
#include "ctl/queue_query.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/general_settings.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_RAW = 88 << 20, MAX_MEMORY = 64 << 20 };


static int take_number(int *argc, char **argv, const char *name, bool size, uint64_t *out)
{
	const char *value = ctl_value(argc, argv, name);
	if (!value)
		return 0;
	bool good = size ? scan_size_all(slice_of(value), UINT64_MAX / 4, out) : scan_span_all(slice_of(value), UINT64_C(1) << 40, out);
	return good ? 0 : ctl_fail(CTL_USAGE, "%s wants a %s", name, size ? "size: 10k, 5M" : "time: 30m, 4h, 5d");
}

static void take_text(struct ctl *c, int *argc, char **argv, const char *name, struct slice *out)
{
	const char *value = ctl_value(argc, argv, name);
	*out = value ? text_lower(&c->mem, slice_of(value)) : SLICE("");
}

int queue_query_read(struct ctl *c, int *argc, char **argv, struct queue_query *q)
{
	uint64_t limit = 0;
	memset(q, 0, sizeof *q);
	take_text(c, argc, argv, "--sender", &q->sender);
	take_text(c, argc, argv, "--recipient", &q->recipient);
	take_text(c, argc, argv, "--domain", &q->domain);
	take_text(c, argc, argv, "--place", &q->place);
	take_text(c, argc, argv, "--reason", &q->reason);
	take_text(c, argc, argv, "--evidence", &q->evidence);
	q->held = ctl_flag(argc, argv, "--held");
	int code = take_number(argc, argv, "--older", false, &q->older_s);
	code = code ? code : take_number(argc, argv, "--newer", false, &q->newer_s);
	code = code ? code : take_number(argc, argv, "--larger", true, &q->larger);
	code = code ? code : take_number(argc, argv, "--smaller", true, &q->smaller);
	const char *text = ctl_value(argc, argv, "--limit");
	if (!code && text && !scan_uint_all(slice_of(text), SIZE_MAX, &limit))
		code = ctl_fail(CTL_USAGE, "--limit wants a number");
	q->limit = (size_t)limit;
	if (!code && ctl_unknown_option(*argc, argv))
		code = ctl_fail(CTL_USAGE, "the option %s is unknown here", ctl_unknown_option(*argc, argv));
	q->ids = *argc ? (const char **)(uintptr_t)argv : NULL;
	q->id_count = (size_t)*argc;
	return code;
}

/* The walk ------------------------------------------------------------------------------------------------------------------------------ */

struct walk {
	struct ctl *c;
	const struct queue_query *query;
	struct spool *spool;
	enum spool_folder where;
	struct buf raw;
	struct arena mem;
	bool (*each)(void *arg, const struct queue_row *row);
	void *arg;
	size_t shown, damaged;
	int64_t now_s;
};

static bool holds(struct slice text, struct slice part, struct arena *mem)
{
	struct slice lower = part.n ? text_lower(mem, text) : text;
	return !part.n || (lower.p && slice_find_slice(lower, part) < lower.n);
}

static bool fits_recipients(struct walk *w, const struct spool_message *m)
{
	const struct queue_query *q = w->query;
	if (!q->recipient.n && !q->domain.n && !q->place.n && !q->reason.n)
		return true;
	for (size_t i = 0; i < m->envelope.recipient_count; i++) {
		const struct recipient_state *s = &m->state.recipients[i];
		struct slice address = m->envelope.recipients[i].address, domain = slice_skip(address, slice_rfind(address, '@') + 1);
		if (holds(address, q->recipient, &w->mem) && (!q->domain.n || slice_eq_nocase(domain, q->domain)) && holds(s->place, q->place, &w->mem) &&
		    holds(s->status.text, q->reason, &w->mem))
			return true;
	}
	return false;
}

static bool fits(struct walk *w, const struct spool_message *m)
{
	const struct queue_query *q = w->query;
	uint64_t age = w->now_s > m->envelope.arrived_s ? (uint64_t)(w->now_s - m->envelope.arrived_s) : 0;
	return holds(m->envelope.reverse_path, q->sender, &w->mem) && (!q->evidence.n || slice_eq(evidence_name(m->envelope.evidence.grade), q->evidence)) &&
	       (!q->older_s || age >= q->older_s) && (!q->newer_s || age <= q->newer_s) && (!q->larger || m->content_length > q->larger) &&
	       (!q->smaller || m->content_length < q->smaller) && (!q->held || m->state.held) && fits_recipients(w, m);
}

static struct queue_row row_of(struct slice id, const struct spool_message *m)
{
	struct queue_row row = { .id = id, .message = m, .place = SLICE(""), .reason = SLICE(""), .waiting = m->state.waiting };
	for (size_t i = 0; i < m->envelope.recipient_count; i++) {
		const struct recipient_state *s = &m->state.recipients[i];
		bool first = !row.place.n && s->fate != RECIPIENT_DONE;
		if (first) {
			row.place = s->place;
			row.reason = s->attempts ? s->status.text : SLICE("not tried yet");
		}
		if (s->fate == RECIPIENT_WAITING && (!row.next_s || s->next_s < row.next_s))
			row.next_s = s->next_s;
	}
	return row;
}

static bool look(void *arg, struct slice id)
{
	struct walk *w = arg;
	struct spool_message m;
	const char *why;
	bool go_on = true;
	int error = spool_read(w->spool, w->where, id, &w->raw, &w->mem, &m, &why);
	if (error == 0) {
		if (fits(w, &m)) {
			struct queue_row row = row_of(id, &m);
			go_on = w->each(w->arg, &row) && (!w->query->limit || ++w->shown < w->query->limit);
		}
		file_close(&m.fd);
	} else if (error == -EBADMSG) {
		w->damaged++;
	}
	arena_reset(&w->mem);
	return go_on;
}

int queue_query_walk(struct ctl *c, const struct queue_query *q, enum spool_folder where, bool (*each)(void *arg, const struct queue_row *row), void *arg)
{
	struct walk w = { .c = c, .query = q, .where = where, .raw = BUF_INIT(MAX_RAW), .mem = ARENA_INIT(MAX_MEMORY), .each = each, .arg = arg, .now_s = clock_wall_s() };
	int dir = open(arena_cstr(&c->mem, general_settings.spool_directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = dir < 0 ? -errno : spool_open_to_look(dir, &w.spool);
	if (error) {
		if (dir >= 0)
			close(dir);
		return ctl_fail(CTL_NO_INPUT, "%.*s: %s (only root and the queue's user may read the spool)", SLICE_FMT(general_settings.spool_directory), strerror(-error));
	}
	for (size_t i = 0; i < q->id_count; i++)
		if (strlen(q->ids[i]) <= SPOOL_ID_MAX && !strchr(q->ids[i], '/') && !look(&w, slice_of(q->ids[i])))
			break;
	if (!q->id_count)
		spool_scan(w.spool, where, look, &w);
	if (w.damaged)
		ctl_fail(0, "%zu message(s) are damaged; the queue sets them aside when it looks at them", w.damaged);
	spool_close(w.spool);
	buf_free(&w.raw);
	arena_free(&w.mem);
	return 0;
}
