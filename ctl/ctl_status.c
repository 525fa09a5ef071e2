/* porterctl status: what the parent says of its processes, for a reader: a line for each, below it what it counts. What is nought is left out, and what is a list of
 * things of several parts (destinations, stores) is left to top and --json. */
#include "ctl/ctl_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/tables.h"

enum { MAX_ANSWER = 4 << 20, WIDTH = 100, INDENT = 4, MAX_PROCESSES = 512, MAX_WORDS = 64 << 10 };

struct process {
	char role[16];
	uint64_t index, pid, uptime_s, restarts;
	bool draining, silent;
	struct buf counts;            /* a line for each */
};

struct told {
	uint64_t pid, uptime_s, maps, alert_times, last_hour, doubt_s;
	char usual[16];
	bool rising;
	struct buf alerts;            /* lines */
	struct process *processes;    /* MAX_PROCESSES */
	size_t count;
};

int ctl_status_each(struct ctl *c, bool (*each)(void *arg, struct slice path, enum json_kind kind, struct slice value), void *arg)
{
	const char *words[] = { "status" };
	struct buf reply = BUF_INIT(MAX_ANSWER);
	struct arena mem = ARENA_INIT(MAX_ANSWER);
	int code = ctl_ask(c, "parent", words, 1, &reply);
	if (code == 0 && json_each(buf_slice(&reply), &mem, each, arg))
		code = -EPROTO;
	arena_free(&mem);
	buf_free(&reply);
	if (code == -ECONNREFUSED)
		return ctl_fail(CTL_UNAVAILABLE, "nothing runs here; start it with: porterd -c %s", c->directory);
	return code < 0 ? ctl_fail(CTL_TEMPFAIL, "the running porterd did not answer: %s", strerror(-code)) : code;
}

/* -- reading -------------------------------------------------------------------------------------------------------------------------------- */

/* The last of several parts is a number: an item of a list. */
static bool is_item(struct slice name, struct slice *list)
{
	size_t dot = name.n;
	while (dot && name.p[dot - 1] != '.')
		dot--;
	uint64_t n;
	*list = slice_head(name, dot ? dot - 1 : 0);
	return dot && scan_uint_all(slice_skip(name, dot), UINT64_MAX, &n);
}

static bool has_item_within(struct slice name)
{
	while (name.n) {
		uint64_t n;
		struct slice part = slice_cut(name, '.', &name);
		if (name.n && scan_uint_all(part, UINT64_MAX, &n))
			return true;
	}
	return false;
}

static void take_count(struct process *p, struct slice name, enum json_kind kind, struct slice value)
{
	struct slice list;
	if (has_item_within(name) || kind == JSON_NULL || (kind == JSON_NUMBER && slice_eq(value, SLICE("0"))))
		return;
	buf_add(&p->counts, is_item(name, &list) ? list : name);
	buf_add_byte(&p->counts, '=');
	text_add_escaped(&p->counts, kind == JSON_TRUE ? SLICE("yes") : kind == JSON_FALSE ? SLICE("no") : value);
	buf_add_byte(&p->counts, '\n');
}

static void take_process(struct told *t, struct slice path, enum json_kind kind, struct slice value, uint64_t number)
{
	uint64_t i;
	if (!scan_uint(&path, MAX_PROCESSES - 1, &i) || !scan_byte(&path, '.'))
		return;
	struct process *p = &t->processes[i];
	t->count = i + 1;
	if (slice_eq(path, SLICE("role")))
		snprintf(p->role, sizeof p->role, "%.*s", SLICE_FMT(slice_head(value, sizeof p->role - 1)));
	else if (slice_eq(path, SLICE("index")))
		p->index = number;
	else if (slice_eq(path, SLICE("pid")))
		p->pid = number;
	else if (slice_eq(path, SLICE("uptime_s")))
		p->uptime_s = number;
	else if (slice_eq(path, SLICE("restarts")))
		p->restarts = number;
	else if (slice_eq(path, SLICE("draining")))
		p->draining = kind == JSON_TRUE;
	else if (slice_eq(path, SLICE("status")))
		p->silent = kind == JSON_NULL;
	else if (scan_word(&path, SLICE("status.")))
		take_count(p, path, kind, value);
	if (slice_eq(path, SLICE("clock_doubt_s")) && number > t->doubt_s)
		t->doubt_s = number;
}

static void take_alert(struct told *t, struct slice path, struct slice value, uint64_t number)
{
	if (slice_ends(path, SLICE(".count"))) {
		t->alert_times = number;
	} else if (slice_ends(path, SLICE(".text"))) {
		buf_add_cstr(&t->alerts, "alert: ");
		text_add_escaped(&t->alerts, value);
		if (t->alert_times > 1)
			buf_addf(&t->alerts, " (%llu times)", (unsigned long long)t->alert_times);
		buf_add_byte(&t->alerts, '\n');
	}
}

static bool take(void *arg, struct slice path, enum json_kind kind, struct slice value)
{
	struct told *t = arg;
	uint64_t number = 0;
	if (kind != JSON_NUMBER || !scan_uint_all(value, UINT64_MAX, &number))
		number = 0;
	if (scan_word(&path, SLICE("processes.")))
		take_process(t, path, kind, value, number);
	else if (scan_word(&path, SLICE("alerts.")))
		take_alert(t, path, value, number);
	else if (slice_eq(path, SLICE("pid")))
		t->pid = number;
	else if (slice_eq(path, SLICE("uptime_s")))
		t->uptime_s = number;
	else if (slice_eq(path, SLICE("maps")))
		t->maps = number;
	else if (slice_eq(path, SLICE("joe_job.rising")))
		t->rising = kind == JSON_TRUE;
	else if (slice_eq(path, SLICE("joe_job.last_hour")))
		t->last_hour = number;
	else if (slice_eq(path, SLICE("joe_job.usual")))
		snprintf(t->usual, sizeof t->usual, "%.*s", SLICE_FMT(slice_head(value, sizeof t->usual - 1)));
	return true;
}

/* -- showing -------------------------------------------------------------------------------------------------------------------------------- */

/* "5 s", "12 m 5 s", "3 h 12 m", "2 d 3 h" */
static const char *span(uint64_t s, char out[32])
{
	static const struct {
		unsigned unit;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	size_t i = 0;
	while (i < 3 && s < units[i].unit)
		i++;
	int n = snprintf(out, 32, "%llu %c", (unsigned long long)(s / units[i].unit), units[i].letter);
	if (i < 3)
		snprintf(out + n, 32 - (size_t)n, " %llu %c", (unsigned long long)(s % units[i].unit / units[i + 1].unit), units[i + 1].letter);
	return out;
}

static void show_counts(struct slice words)
{
	size_t column = 0;
	while (words.n) {
		struct slice word = slice_cut(words, '\n', &words);
		if (column && column + 1 + word.n > WIDTH)
			putchar('\n'), column = 0;
		column += (size_t)printf("%*s%.*s", column ? 1 : INDENT, "", SLICE_FMT(word));
	}
	if (column)
		putchar('\n');
}

/* As they were started; their answers come in any order. */
static int by_pid(const void *a, const void *b)
{
	uint64_t first = ((const struct process *)a)->pid, second = ((const struct process *)b)->pid;
	return (first > second) - (first < second);
}

static void show(const struct told *t)
{
	char up[32];
	printf("porterd, pid %llu, up %s, %zu processes, generation %llu of the maps\n", (unsigned long long)t->pid, span(t->uptime_s, up), t->count, (unsigned long long)t->maps);
	for (size_t i = 0; i < t->count; i++) {
		const struct process *p = &t->processes[i];
		printf("  %s %llu, pid %llu, up %s", p->role, (unsigned long long)p->index, (unsigned long long)p->pid, span(p->uptime_s, up));
		if (p->restarts)
			printf(", restarted %llu times", (unsigned long long)p->restarts);
		printf("%s%s\n", p->draining ? ", draining" : "", p->silent ? ", does not answer" : "");
		show_counts(buf_slice(&p->counts));
	}
	printf("%.*s", SLICE_FMT(buf_slice(&t->alerts)));
	if (t->doubt_s)
		printf("clock: doubted for %s yet: it was set forward, or nobody served for more than a day by it\n%*suntil then nothing ends by its time: no message expires, no delay is told, and addresses that look\n"
		       "%*stoo old to be ours hear 451; if the clock is wrong, set it before that\n", span(t->doubt_s, up), INDENT, "", INDENT, "");
	if (t->rising)
		printf("joe-job: %llu bounces of mail that was never sent here were refused in the last hour (usually %s): our addresses are forged\n", (unsigned long long)t->last_hour, t->usual);
}

static int run(struct ctl *c, int argc, char **argv)
{
	const char *words[] = { "status" };
	if (argc)
		return ctl_fail(CTL_USAGE, "status takes no argument, not even %s", argv[0]);
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	if (c->json)
		return ctl_ask_and_print(c, "parent", words, 1);
	struct told t = { .alerts = BUF_INIT(MAX_WORDS), .processes = mem_new_array(MAX_PROCESSES, sizeof(struct process)) };
	for (size_t i = 0; i < MAX_PROCESSES; i++)
		buf_init(&t.processes[i].counts, MAX_WORDS);
	int code = ctl_status_each(c, take, &t);
	if (code == 0) {
		qsort(t.processes, t.count, sizeof *t.processes, by_pid);
		show(&t);
	}
	for (size_t i = 0; i < MAX_PROCESSES; i++)
		buf_free(&t.processes[i].counts);
	mem_free(t.processes);
	buf_free(&t.alerts);
	return code;
}

const struct ctl_command ctl_status_commands[] = {
	{ "status", "[--json]", "Shows the running processes, sessions, maps and alerts; for how long yet the clock is doubted (clock_doubt_s of the queue and of smtpd), which was set forward or has gone on for more than a day while nobody served: until then no message expires, nobody is told of a delay, and a tagged or rewritten address that looks too old hears 451; and whether bounces of mail that was never sent here rise (joe-job): twenty or more in the last hour, and more than five times the mean of an hour in the week before.", run },
	{ NULL, NULL, NULL, NULL }
};
