/* porterctl top: a live picture of the house on a terminal, made of what `status` says now and said a moment ago. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/scan.h"
#include "ctl/tables.h"

enum { MAX_ROLES = 64, MAX_PLACES = 500, MAX_ALERTS = 3, MAX_ANSWER = 4 << 20, NAME_BYTES = 48, DEFAULT_ROWS = 24, HEAD_ROWS = 12 };

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
	struct place places[MAX_PLACES];
	size_t place_count, processes;
	uint64_t restarts;
	char alerts[MAX_ALERTS][120];
	size_t alert_count;
};

static const struct row {
	const char *role, *name;
	size_t at;
} rows[] = {
#define ROW(role, name, member) { role, name, offsetof(struct counts, member) }
	ROW("smtpd", "open_sessions", open_sessions), ROW("smtpd", "sessions", sessions), ROW("smtpd", "sessions_refused", sessions_refused), ROW("smtpd", "taken", taken),
	ROW("smtpd", "deferred", deferred), ROW("smtpd", "refused", refused), ROW("smtpd", "recipients", recipients), ROW("smtpd", "recipients_unknown", recipients_unknown),
	ROW("smtpd", "bytes", bytes), ROW("queue", "messages", messages), ROW("queue", "recipients", waiting), ROW("queue", "out", out), ROW("queue", "held", held),
	ROW("queue", "taken", queued), ROW("queue", "done", done), ROW("queue", "failed", failed), ROW("queue", "later", later), ROW("queue", "reports", reports),
	ROW("queue", "withheld", withheld), ROW("queue", "dead", dead),
#undef ROW
};

/* -- reading -------------------------------------------------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t room, struct slice s)
{
	size_t n = s.n < room - 1 ? s.n : room - 1;
	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i];
	to[n] = '\0';
}

static void take_place(struct picture *p, struct slice path, struct slice value, uint64_t number)
{
	uint64_t i;
	if (!scan_uint(&path, MAX_PLACES - 1, &i) || !scan_byte(&path, '.'))
		return;
	struct place *at = &p->places[i];
	p->place_count = i + 1 > p->place_count ? i + 1 : p->place_count;
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
		for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
			if (strcmp(rows[k].role, p->roles[i]) == 0 && slice_eq(path, slice_of(rows[k].name)))
				*(uint64_t *)((char *)&p->counts + rows[k].at) += number;
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

/* 0, or an exit code with the reason on standard error. */
static int look(struct ctl *c, struct picture *p)
{
	const char *words[] = { "status", "--json" };
	struct buf reply = BUF_INIT(MAX_ANSWER);
	struct arena mem = ARENA_INIT(MAX_ANSWER);
	int code = ctl_ask(c, "parent", words, 2, &reply);
	*p = (struct picture){ .at_ms = clock_mono_ms() };
	if (code == 0 && json_each(buf_slice(&reply), &mem, take, p))
		code = -EPROTO;
	arena_free(&mem);
	buf_free(&reply);
	if (code == -ECONNREFUSED)
		return ctl_fail(CTL_UNAVAILABLE, "nothing runs here; start it with: porterd -c %s", c->directory);
	return code < 0 ? ctl_fail(CTL_TEMPFAIL, "the running porterd did not answer: %s", strerror(-code)) : code;
}

/* -- showing -------------------------------------------------------------------------------------------------------------------------------- */

/* A second; counters begin anew where a process did. */
static double rate(uint64_t now, uint64_t before, uint64_t ms)
{
	return ms && now > before ? (double)(now - before) * 1000 / (double)ms : 0;
}

static void show(const struct picture *p, const struct picture *before, size_t rows_left)
{
	const struct counts *n = &p->counts, *b = &before->counts;
	uint64_t ms = p->at_ms - before->at_ms;
	printf("porter  up %llu s  %zu processes  %llu restarts  maps generation %llu\n\n", (unsigned long long)p->uptime_s, p->processes, (unsigned long long)p->restarts,
	       (unsigned long long)p->maps);
	printf("sessions  %8llu open   %8.1f new/s  %8.1f sent away/s\n", (unsigned long long)n->open_sessions, rate(n->sessions, b->sessions, ms),
	       rate(n->sessions_refused, b->sessions_refused, ms));
	printf("in        %8.1f taken/s  %6.1f later/s  %8.1f refused/s  %8.1f KiB/s\n", rate(n->taken, b->taken, ms), rate(n->deferred, b->deferred, ms), rate(n->refused, b->refused, ms),
	       rate(n->bytes, b->bytes, ms) / 1024);
	printf("rcpt      %8.1f good/s   %6.1f unknown/s\n", rate(n->recipients, b->recipients, ms), rate(n->recipients_unknown, b->recipients_unknown, ms));
	printf("queue     %8llu messages %6llu recipients %5llu out  %5llu held\n", (unsigned long long)n->messages, (unsigned long long)n->waiting, (unsigned long long)n->out,
	       (unsigned long long)n->held);
	printf("out       %8.1f in/s     %6.1f done/s  %8.1f later/s  %8.1f failed/s\n", rate(n->queued, b->queued, ms), rate(n->done, b->done, ms), rate(n->later, b->later, ms),
	       rate(n->failed, b->failed, ms));
	printf("reports   %8llu sent     %6llu withheld  %6llu dead letters\n\n", (unsigned long long)n->reports, (unsigned long long)n->withheld, (unsigned long long)n->dead);
	for (size_t i = 0; i < p->alert_count && rows_left > 1; i++, rows_left--)
		printf("alert: %s\n", p->alerts[i]);
	if (p->place_count && rows_left > 1)
		printf("%-48s %7s %7s %7s %9s\n", "destination", "jobs", "running", "window", "rests ms");
	for (size_t i = 0; i < p->place_count && i + 2 < rows_left; i++)
		printf("%-48s %7llu %7llu %7llu %9llu\n", p->places[i].name, (unsigned long long)p->places[i].jobs, (unsigned long long)p->places[i].running,
		       (unsigned long long)p->places[i].window, (unsigned long long)p->places[i].rest_ms);
	fflush(stdout);
}

static size_t terminal_rows(void)
{
	struct winsize size;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row ? size.ws_row : DEFAULT_ROWS;
}

static void show_json(const struct picture *p, const struct picture *before)
{
	uint64_t ms = p->at_ms - before->at_ms;
	printf("{\"ms\":%llu", (unsigned long long)ms);
	for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
		uint64_t now = *(const uint64_t *)((const char *)&p->counts + rows[k].at), then = *(const uint64_t *)((const char *)&before->counts + rows[k].at);
		printf(",\"%s.%s\":{\"now\":%llu,\"per_second\":%.1f}", rows[k].role, rows[k].name, (unsigned long long)now, rate(now, then, ms));
	}
	puts("}");
	fflush(stdout);
}

static int run_top(struct ctl *c, int argc, char **argv)
{
	static struct picture now, before;
	const char *every = ctl_value(&argc, argv, "--every"), *times = ctl_value(&argc, argv, "--times");
	uint64_t seconds = 1, count = 0;
	if (argc || (every && (!scan_uint_all(slice_of(every), 3600, &seconds) || !seconds)) || (times && !scan_uint_all(slice_of(times), UINT32_MAX, &count)))
		return ctl_fail(CTL_USAGE, "top [--every SECONDS] [--times N] [--json]");
	bool screen = isatty(STDOUT_FILENO) && !c->json;
	if (!screen && !times)
		count = 1;
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	int code = look(c, &before);
	for (uint64_t i = 0; !code && (!count || i < count); i++) {
		nanosleep(&(struct timespec){ (time_t)seconds, 0 }, NULL);
		code = look(c, &now);
		if (code)
			break;
		size_t height = screen ? terminal_rows() : 1000;
		if (screen)
			fputs("\033[H\033[J", stdout);
		if (c->json)
			show_json(&now, &before);
		else
			show(&now, &before, height > HEAD_ROWS ? height - HEAD_ROWS : 0);
		before = now;
	}
	return code;
}

const struct ctl_command ctl_top_commands[] = {
	{ "top", "[--every SECONDS] [--times N] [--json]", "Shows sessions, rates, the queue, destinations and withheld reports, live on a terminal, else once.", run_top },
	{ NULL, NULL, NULL, NULL }
};
