/* Queries over the spool: threads read its folders, one at a time each; what fits is taken under a lock. */
#include "ctl/queue_query.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/general_settings.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_RAW = 88 << 20, MAX_MEMORY = 64 << 20, MAX_LINE = 16 << 20, TOGETHER = 64 << 10, MAX_THREADS = 8, PATIENCE_MS = 500 /* before there is a progress bar */ };

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

static int check_evidence(struct slice word)
{
	for (int i = 0; word.n && i < EVIDENCE_GRADES; i++)
		if (slice_eq(evidence_name((enum evidence_grade)i), word))
			return 0;
	return word.n ? ctl_fail(CTL_USAGE, "--evidence wants none, dkim, spf, owner, client, local or auth") : 0;
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
	int code = check_evidence(q->evidence);
	code = code ? code : take_number(argc, argv, "--older", false, &q->older_s);
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

/* What fits ----------------------------------------------------------------------------------------------------------------------------- */

struct unit {
	char name[8];
};

struct walk {
	struct ctl *c;
	const struct queue_query *query;
	const struct queue_walker *with;
	struct spool *spool;
	enum spool_folder where;
	int64_t now_s;
	pthread_mutex_t lock;        /* over all that follows */
	struct unit *units;
	size_t unit_count, next, read, shown, damaged;
	bool enough;
	uint64_t began_ms;
};

struct reader {
	struct walk *walk;
	struct buf raw, line;
	size_t rows;                 /* in line */
	size_t fitting;
	struct arena mem;
	pthread_t thread;
};

static bool holds(struct slice text, struct slice part, struct arena *mem)
{
	struct slice lower = part.n ? text_lower(mem, text) : text;
	return !part.n || (lower.p && slice_find_slice(lower, part) < lower.n);
}

static bool fits_reason(struct slice text, struct slice wanted, struct arena *mem)
{
	if (slice_find(wanted, '*') == wanted.n && slice_find(wanted, '?') == wanted.n)
		return holds(text, wanted, mem);
	const char *pattern = arena_cstr(mem, wanted), *lower = arena_cstr(mem, text_lower(mem, text));
	return pattern && lower && fnmatch(pattern, lower, 0) == 0;
}

static bool fits_recipients(struct reader *r, const struct spool_message *m)
{
	const struct queue_query *q = r->walk->query;
	struct arena *mem = &r->mem;
	if (!q->recipient.n && !q->domain.n && !q->place.n && !q->reason.n)
		return true;
	for (size_t i = 0; i < m->envelope.recipient_count; i++) {
		const struct recipient_state *s = &m->state.recipients[i];
		if (r->walk->where == SPOOL_QUEUE && s->fate != RECIPIENT_WAITING)
			continue;        /* what is done with there is nothing to act on */
		struct slice address = m->envelope.recipients[i].address, domain = slice_skip(address, slice_rfind(address, '@') + 1);
		if (holds(address, q->recipient, mem) && (!q->domain.n || slice_eq_nocase(domain, q->domain)) && holds(s->place, q->place, mem) &&
		    fits_reason(s->status.text, q->reason, mem))
			return true;
	}
	return false;
}

/* "<>" is the null path, which holds no part of anything. */
static bool fits_sender(struct slice sender, struct slice wanted, struct arena *mem)
{
	return slice_eq(wanted, SLICE("<>")) ? !sender.n : holds(sender, wanted, mem);
}

static bool fits(struct reader *r, const struct spool_message *m)
{
	const struct queue_query *q = r->walk->query;
	uint64_t age = r->walk->now_s > m->envelope.arrived_s ? (uint64_t)(r->walk->now_s - m->envelope.arrived_s) : 0;
	return fits_sender(m->envelope.reverse_path, q->sender, &r->mem) && (!q->evidence.n || slice_eq(evidence_name(m->envelope.evidence.grade), q->evidence)) &&
	       (!q->older_s || age >= q->older_s) && (!q->newer_s || age <= q->newer_s) && (!q->larger || m->content_length > q->larger) &&
	       (!q->smaller || m->content_length < q->smaller) && (!q->held || m->state.held) && fits_recipients(r, m);
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

/* The walk ------------------------------------------------------------------------------------------------------------------------------ */

static void give(struct reader *r)
{
	struct walk *w = r->walk;
	if (!r->rows)
		return;
	pthread_mutex_lock(&w->lock);
	w->with->give(w->with->arg, r->rows, buf_slice(&r->line));
	pthread_mutex_unlock(&w->lock);
	buf_clear(&r->line);
	r->rows = 0;
}

static bool take_one(struct reader *r, const struct queue_row *row)
{
	struct walk *w = r->walk;
	pthread_mutex_lock(&w->lock);
	if (!w->enough)
		w->enough = !w->with->take(w->with->arg, row, buf_slice(&r->line)) || (w->query->limit && ++w->shown >= w->query->limit);
	bool go_on = !w->enough;
	pthread_mutex_unlock(&w->lock);
	buf_clear(&r->line);
	return go_on;
}

static bool take(struct reader *r, const struct queue_row *row)
{
	const struct queue_walker *with = r->walk->with;
	if (with->look)
		with->look(with->arg, row, &r->line);
	if (with->take)
		return take_one(r, row);
	r->rows++;
	if (r->line.n >= TOGETHER)
		give(r);
	return true;
}

static bool look(void *arg, struct slice id)
{
	struct reader *r = arg;
	struct walk *w = r->walk;
	struct spool_message m;
	const char *why;
	bool go_on = true;
	int error = spool_read(w->spool, w->where, id, &r->raw, &r->mem, &m, &why);
	if (error == 0) {
		struct queue_row row = row_of(id, &m);
		if (fits(r, &m)) {
			r->fitting++;
			go_on = take(r, &row);
		}
		file_close(&m.fd);
	} else if (error == -EBADMSG) {
		pthread_mutex_lock(&w->lock);
		w->damaged++;
		pthread_mutex_unlock(&w->lock);
	}
	arena_reset(&r->mem);
	return go_on;
}

/* The next folder for a reader, when it is through with one. NULL: there is none. */
static const struct unit *next_unit(struct walk *w, bool done_one)
{
	const struct unit *u = NULL;
	pthread_mutex_lock(&w->lock);
	w->read += done_one;
	if (!w->with->quiet && clock_mono_ms() > w->began_ms + PATIENCE_MS)
		ctl_progress(w->c, "reading", w->read, w->unit_count);
	if (!w->enough && w->next < w->unit_count)
		u = &w->units[w->next++];
	pthread_mutex_unlock(&w->lock);
	return u;
}

static void *read_units(void *arg)
{
	struct reader *r = arg;
	struct walk *w = r->walk;
	for (const struct unit *u = next_unit(w, false); u; u = next_unit(w, true))
		spool_scan_shard(w->spool, slice_of(u->name), look, r);
	give(r);
	return NULL;
}

static bool add_unit(void *arg, struct slice name)
{
	struct walk *w = arg;
	if (name.n >= sizeof w->units->name)
		return true;
	w->units = mem_grow(w->units, w->unit_count + 1, sizeof *w->units);
	snprintf(w->units[w->unit_count++].name, sizeof w->units->name, "%.*s", SLICE_FMT(name));
	return true;
}

static void reader_init(struct reader *r, struct walk *w)
{
	*r = (struct reader){ .walk = w, .raw = BUF_INIT(MAX_RAW), .line = BUF_INIT(MAX_LINE), .mem = ARENA_INIT(MAX_MEMORY) };
}

static void reader_free(struct reader *r)
{
	buf_free(&r->raw);
	buf_free(&r->line);
	arena_free(&r->mem);
}

/* This thread is one of them; fewer may be had than wanted. */
static void read_all(struct walk *w)
{
	struct reader readers[MAX_THREADS];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t wanted = cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : (size_t)cores, count = 1;
	spool_shards(w->spool, add_unit, w);
	reader_init(&readers[0], w);
	for (; count < wanted && count < w->unit_count; count++) {
		reader_init(&readers[count], w);
		if (pthread_create(&readers[count].thread, NULL, read_units, &readers[count]))
			break;
	}
	read_units(&readers[0]);
	for (size_t i = 0; i < count; i++) {
		if (i)
			pthread_join(readers[i].thread, NULL);
		reader_free(&readers[i]);
	}
}

/* How many of the ids are nowhere. */
static size_t read_named(struct walk *w)
{
	struct reader r;
	size_t missing = 0;
	bool go_on = true;
	reader_init(&r, w);
	for (size_t i = 0; i < w->query->id_count && go_on; i++) {
		const char *id = w->query->ids[i];
		size_t before = r.fitting;
		if (strlen(id) <= SPOOL_ID_MAX && !strchr(id, '/'))
			go_on = look(&r, slice_of(id));
		if (r.fitting == before && ++missing)
			ctl_fail(0, "there is no message %s there that fits", id);
	}
	if (!w->query->id_count)
		spool_scan(w->spool, w->where, look, &r);
	give(&r);
	reader_free(&r);
	return missing;
}

int queue_query_walk(struct ctl *c, const struct queue_query *q, enum spool_folder where, const struct queue_walker *with)
{
	struct walk w = { .c = c, .query = q, .where = where, .with = with, .now_s = clock_wall_s(), .lock = PTHREAD_MUTEX_INITIALIZER, .began_ms = clock_mono_ms() };
	int dir = open(arena_cstr(&c->mem, general_settings.spool_directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = dir < 0 ? -errno : spool_open_to_look(dir, &w.spool);
	if (error) {
		if (dir >= 0)
			close(dir);
		return ctl_fail(CTL_NO_INPUT, "%.*s: %s (only root and the queue's user may read the spool)", SLICE_FMT(general_settings.spool_directory), strerror(-error));
	}
	size_t missing = 0;
	if (q->id_count || where != SPOOL_QUEUE)
		missing = read_named(&w);
	else
		read_all(&w);
	if (w.damaged)
		ctl_fail(0, "%zu message(s) are damaged; the queue sets them aside when it looks at them", w.damaged);
	spool_close(w.spool);
	mem_free(w.units);
	return missing ? 1 : 0;
}
