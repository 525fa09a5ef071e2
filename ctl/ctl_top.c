/* porterctl top: a live picture of the house on a terminal, made of what `status` says now and said a moment ago. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/ctl_status.h"
#include "ctl/screen.h"
#include "ctl/tables.h"

enum { MAX_ROLES = 64, MAX_PLACES = 500, MAX_ALERTS = 3, NAME_BYTES = 160, HEAD_LINES = 9 };
enum { PLAIN_ROWS = 1000, PLAIN_COLUMNS = 0, PLAIN_NAME = 45, NUMBER_COLUMNS = 35, LEAST_NAME = 20, DAY_S = 86400 };

struct counts {
	uint64_t open_sessions, sessions, sessions_refused, taken, deferred, refused, recipients, recipients_unknown, bytes;
	uint64_t messages, waiting, out, held, queued, done, failed, later, reports, withheld, dead;
};

struct place {
	char name[NAME_BYTES];
	uint64_t running, jobs, window, rest_ms;
};

struct picture {
	uint64_t at_ms, uptime_s, maps;
	struct counts counts;
	char roles[MAX_ROLES][16];
	struct place places[MAX_PLACES]; /* the first ones told */
	size_t place_count, place_total, processes;
	uint64_t restarts;
	char alerts[MAX_ALERTS][400];
	size_t alert_count;
};

static const struct row {
	const char *role, *name;
	size_t at;
} told[] = {
#define ROW(role, name, member) { role, name, offsetof(struct counts, member) }
	ROW("smtpd", "open_sessions", open_sessions), ROW("smtpd", "sessions", sessions), ROW("smtpd", "sessions_refused", sessions_refused), ROW("smtpd", "taken", taken),
	ROW("smtpd", "deferred", deferred), ROW("smtpd", "refused", refused), ROW("smtpd", "recipients", recipients), ROW("smtpd", "recipients_unknown", recipients_unknown),
	ROW("smtpd", "bytes", bytes), ROW("queue", "messages", messages), ROW("queue", "recipients", waiting), ROW("queue", "out", out), ROW("queue", "held", held),
	ROW("queue", "taken", queued), ROW("queue", "done", done), ROW("queue", "failed", failed), ROW("queue", "later", later), ROW("queue", "reports", reports),
	ROW("queue", "withheld", withheld), ROW("queue", "dead", dead),
#undef ROW
};

/* -- reading -------------------------------------------------------------------------------------------------------------------------------- */

/* What strangers wrote, as a terminal may see it. */
static void copy_text(char *to, size_t room, struct slice s)
{
	struct buf text = BUF_INIT(4 * room);
	text_add_escaped(&text, slice_head(s, room - 1));
	snprintf(to, room, "%.*s", SLICE_FMT(buf_slice(&text)));
	buf_free(&text);
}

static void take_place(struct picture *p, struct slice path, struct slice value, uint64_t number)
{
	uint64_t i;
	if (!scan_uint(&path, SIZE_MAX - 1, &i) || !scan_byte(&path, '.'))
		return;
	p->place_total = i + 1;
	if (i >= MAX_PLACES)
		return;
	struct place *at = &p->places[i];
	p->place_count = i + 1;
	if (slice_eq(path, SLICE("place")))
		copy_text(at->name, sizeof at->name, value);
	else if (slice_eq(path, SLICE("running")))
		at->running = number;
	else if (slice_eq(path, SLICE("jobs")))
		at->jobs = number;
	else if (slice_eq(path, SLICE("window")))
		at->window = number;
	else if (slice_eq(path, SLICE("rest_ms")))
		at->rest_ms = number;
}

static void take_process(struct picture *p, struct slice path, struct slice value, uint64_t number)
{
	uint64_t i;
	if (!scan_uint(&path, MAX_ROLES - 1, &i) || !scan_byte(&path, '.'))
		return;
	if (slice_eq(path, SLICE("role"))) {
		copy_text(p->roles[i], sizeof p->roles[i], value);
		p->processes++;
	} else if (slice_eq(path, SLICE("restarts"))) {
		p->restarts += number;
	} else if (scan_word(&path, SLICE("status.places."))) {
		take_place(p, path, value, number);
	} else if (scan_word(&path, SLICE("status."))) {
		for (size_t k = 0; k < sizeof told / sizeof *told; k++)
			if (strcmp(told[k].role, p->roles[i]) == 0 && slice_eq(path, slice_of(told[k].name)))
				*(uint64_t *)((char *)&p->counts + told[k].at) += number;
	}
}

static bool take(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	struct picture *p = arg;
	uint64_t number = 0;
	if (kind == JSON_NUMBER && !scan_uint_all(value, UINT64_MAX, &number))
		number = 0;
	if (scan_word(&path, SLICE("processes.")))
		take_process(p, path, value, number);
	else if (slice_eq(path, SLICE("uptime_s")))
		p->uptime_s = number;
	else if (slice_eq(path, SLICE("maps")))
		p->maps = number;
	else if (slice_starts(path, SLICE("alerts.")) && slice_ends(path, SLICE(".text")) && p->alert_count < MAX_ALERTS)
		copy_text(p->alerts[p->alert_count++], sizeof p->alerts[0], value);
	return true;
}

static int look(struct ctl *c, struct picture *p)
{
	*p = (struct picture){ .at_ms = clock_mono_ms() };
	return ctl_status_each(c, take, p);
}

/* -- showing -------------------------------------------------------------------------------------------------------------------------------- */

/* A second; counters begin anew where a process did. */
static double rate(uint64_t now, uint64_t before, uint64_t ms)
{
	return ms && now > before ? (double)(now - before) * 1000 / (double)ms : 0;
}

static void add_counts(struct buf *out, const struct counts *n, const struct counts *b, uint64_t ms)
{
	buf_addf(out, "sessions  %8llu open   %8.1f new/s  %8.1f sent away/s\n", (unsigned long long)n->open_sessions, rate(n->sessions, b->sessions, ms),
	         rate(n->sessions_refused, b->sessions_refused, ms));
	buf_addf(out, "in        %8.1f taken/s  %6.1f later/s  %8.1f refused/s  %8.1f KiB/s\n", rate(n->taken, b->taken, ms), rate(n->deferred, b->deferred, ms),
	         rate(n->refused, b->refused, ms), rate(n->bytes, b->bytes, ms) / 1024);
	buf_addf(out, "rcpt      %8.1f good/s   %6.1f unknown/s\n", rate(n->recipients, b->recipients, ms), rate(n->recipients_unknown, b->recipients_unknown, ms));
	buf_addf(out, "queue     %8llu messages %6llu recipients %5llu out  %5llu held\n", (unsigned long long)n->messages, (unsigned long long)n->waiting, (unsigned long long)n->out,
	         (unsigned long long)n->held);
	buf_addf(out, "out       %8.1f in/s     %6.1f done/s  %8.1f later/s  %8.1f failed/s\n", rate(n->queued, b->queued, ms), rate(n->done, b->done, ms), rate(n->later, b->later, ms),
	         rate(n->failed, b->failed, ms));
	buf_addf(out, "reports   %8llu sent     %6llu withheld  %6llu dead letters\n\n", (unsigned long long)n->reports, (unsigned long long)n->withheld, (unsigned long long)n->dead);
}

static int by_jobs(const void *left, const void *right)
{
	const struct place *l = left, *r = right;
	return l->jobs > r->jobs ? -1 : l->jobs < r->jobs ? 1 : strcmp(l->name, r->name);
}

/* How many bytes of a name fit, no character cut. */
static int fit(const char *name, int width)
{
	int n = (int)strnlen(name, (size_t)width + 1);
	if (n <= width)
		return n;
	for (n = width; n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80;)
		n--;
	return n;
}

/* Those with the most to do come first; how many there is no room for is told. */
static void add_places(struct buf *out, struct picture *p, size_t rows_left, size_t columns)
{
	bool plain = columns == PLAIN_COLUMNS; /* names stand whole there */
	int width = plain ? PLAIN_NAME : columns < NUMBER_COLUMNS + LEAST_NAME ? LEAST_NAME : columns < NUMBER_COLUMNS + NAME_BYTES ? (int)columns - NUMBER_COLUMNS : NAME_BYTES;
	size_t shown = p->place_count;
	if (!p->place_total || rows_left < 2)
		return;
	qsort(p->places, p->place_count, sizeof *p->places, by_jobs);
	if (1 + p->place_total > rows_left)
		shown = rows_left - 2 < shown ? rows_left - 2 : shown;
	buf_addf(out, "%-*s %7s %7s %7s %9s\n", width, "destination", "jobs", "running", "window", "rests ms");
	for (size_t i = 0; i < shown; i++)
		buf_addf(out, "%-*.*s %7llu %7llu %7llu %9llu\n", width, plain ? NAME_BYTES : fit(p->places[i].name, width), p->places[i].name, (unsigned long long)p->places[i].jobs, (unsigned long long)p->places[i].running,
		         (unsigned long long)p->places[i].window, (unsigned long long)p->places[i].rest_ms);
	if (shown < p->place_total)
		buf_addf(out, "and %zu more\n", p->place_total - shown);
}

static void show(struct buf *out, struct picture *p, const struct picture *before, size_t rows, size_t columns)
{
	uint64_t days = p->uptime_s / DAY_S, s = p->uptime_s % DAY_S;
	size_t rows_left = rows > HEAD_LINES ? rows - HEAD_LINES : 0;
	buf_addf(out, "porter  up %llu d %02u:%02u:%02u  %zu processes  %llu restarts  maps generation %llu\n\n", (unsigned long long)days, (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
	         (unsigned)(s % 60), p->processes, (unsigned long long)p->restarts, (unsigned long long)p->maps);
	add_counts(out, &p->counts, &before->counts, p->at_ms - before->at_ms);
	for (size_t i = 0; i < p->alert_count && rows_left > 0; i++, rows_left--)
		buf_addf(out, "alert: %s\n", p->alerts[i]);
	add_places(out, p, rows_left, columns);
}

static void show_json(struct buf *out, const struct picture *p, const struct picture *before)
{
	uint64_t ms = p->at_ms - before->at_ms;
	buf_addf(out, "{\"ms\":%llu,\"uptime_s\":%llu,\"processes\":%zu,\"restarts\":%llu,\"maps\":%llu", (unsigned long long)ms, (unsigned long long)p->uptime_s, p->processes,
	         (unsigned long long)p->restarts, (unsigned long long)p->maps);
	for (size_t k = 0; k < sizeof told / sizeof *told; k++) {
		uint64_t now = *(const uint64_t *)((const char *)&p->counts + told[k].at), then = *(const uint64_t *)((const char *)&before->counts + told[k].at);
		buf_addf(out, ",\"%s.%s\":{\"now\":%llu,\"per_second\":%.1f}", told[k].role, told[k].name, (unsigned long long)now, rate(now, then, ms));
	}
	buf_addf(out, ",\"destinations\":%zu}\n", p->place_total);
}

/* -- the command ---------------------------------------------------------------------------------------------------------------------------- */

struct top {
	struct ctl *c;
	struct screen screen;
	bool live, measured;             /* measured: there are two pictures */
	struct picture now, before;
};

static void draw(struct top *t)
{
	struct buf out = BUF_INIT(1 << 20);
	if (t->c->json)
		show_json(&out, &t->now, &t->before);
	else if (t->live)
		show(&out, &t->now, &t->before, t->screen.rows - 1, t->screen.columns);
	else
		show(&out, &t->now, &t->before, PLAIN_ROWS, PLAIN_COLUMNS);
	if (t->live)
		screen_draw(&t->screen, buf_slice(&out));
	else
		ctl_print(buf_slice(&out)), fflush(stdout);
	buf_free(&out);
}

/* False: somebody wants to leave. */
static bool pass(struct top *t, uint64_t ms)
{
	uint64_t until = clock_mono_ms() + ms;
	if (!t->live) {
		nanosleep(&(struct timespec){ (time_t)(ms / 1000), 0 }, NULL);
		return true;
	}
	for (uint64_t now = until - ms; now < until; now = clock_mono_ms()) {
		enum screen_event e = screen_wait(&t->screen, until - now);
		if (e == SCREEN_QUIT)
			return false;
		if (e == SCREEN_CHANGED && t->measured)
			draw(t);
	}
	return true;
}

/* The first rates come after a second, however seldom the next ones. */
static int watch(struct top *t, uint64_t seconds, uint64_t count)
{
	int code = look(t->c, &t->now);
	for (uint64_t i = 0; !code && (!count || i < count) && pass(t, 1000 * (i || !t->live ? seconds : 1)); i++) {
		t->before = t->now;
		code = look(t->c, &t->now);
		t->measured = true;
		if (!code)
			draw(t);
	}
	return code;
}

static int run_top(struct ctl *c, int argc, char **argv)
{
	static struct top t;
	const char *every = ctl_value(&argc, argv, "--every"), *times = ctl_value(&argc, argv, "--times");
	uint64_t seconds = 1, count = 0;
	if (argc || (every && (!scan_uint_all(slice_of(every), 3600, &seconds) || !seconds)) || (times && (!scan_uint_all(slice_of(times), UINT32_MAX, &count) || !count)))
		return ctl_fail(CTL_USAGE, "top [--every SECONDS] [--times N] [--json]");
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	t.c = c;
	t.live = !c->json && screen_begin(&t.screen);
	int code = watch(&t, seconds, t.live || times ? count : 1);
	if (t.live)
		screen_end(&t.screen);
	return code;
}

const struct ctl_command ctl_top_commands[] = {
	{ "top", "[--every SECONDS] [--times N] [--json]", "Shows sessions, rates, the queue, destinations and withheld reports, live on a terminal, else once.", run_top },
	{ NULL, NULL, NULL, NULL }
};
