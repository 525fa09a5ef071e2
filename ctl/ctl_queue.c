/* porterctl queue and porterctl dead: looking at messages, and acting on those that a query names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unique.h"
#include "ctl/queue_list.h"
#include "ctl/queue_show.h"
#include "ctl/queue_survey.h"
#include "ctl/tables.h"
#include "maps/map_value.h"
#include "queue/index.h"

enum { BATCH = 2000 /* ids in a question */, BUSY_MS = 50, AGES = 8 };

static int run_list(struct ctl *c, int argc, char **argv)
{
	return queue_list(c, argc, argv, SPOOL_QUEUE);
}

static int run_dead_list(struct ctl *c, int argc, char **argv)
{
	return queue_list(c, argc, argv, SPOOL_DEAD);
}

static int run_show(struct ctl *c, int argc, char **argv)
{
	return queue_show(c, argc, argv, SPOOL_QUEUE);
}

static int run_dead_show(struct ctl *c, int argc, char **argv)
{
	return queue_show(c, argc, argv, SPOOL_DEAD);
}

/* Acts ---------------------------------------------------------------------------------------------------------------------------------- */

struct picking {
	struct unique *ids;
	size_t count, room;
};

static void pick(struct picking *p, struct slice id)
{
	if (id.n != UNIQUE_LENGTH)
		return;
	if (p->count == p->room) {
		p->room = p->room ? p->room * 2 : 256;
		p->ids = mem_grow(p->ids, p->room, sizeof *p->ids);
	}
	memcpy(p->ids[p->count].text, id.p, id.n);
	p->ids[p->count++].text[UNIQUE_LENGTH] = 0;
}

static bool pick_row(void *arg, const struct queue_row *row, struct slice line)
{
	(void)line;
	pick(arg, row->id);
	return true;
}

static bool pick_taken(void *arg, const struct taken *t)
{
	pick(arg, t->id);
	return true;
}

/* From what the schedule knows, where that is enough; else from the files. */
static int pick_all(struct ctl *c, const struct queue_query *q, enum spool_folder where, struct picking *p)
{
	struct queue_walker with = { .take = pick_row, .arg = p };
	if (where == SPOOL_QUEUE && queue_survey_serves(q) && queue_survey_walk(c, q, pick_taken, p))
		return 0;
	p->count = 0;
	return queue_query_walk(c, q, where, &with);
}

/* Why it said nothing. */
static int unanswered(struct ctl *c, int error)
{
	if (error == -ECONNREFUSED)
		return ctl_fail(CTL_UNAVAILABLE, "nothing runs here; start it with: porterd -c %s", c->directory);
	return ctl_fail(error == -ETIMEDOUT ? CTL_TEMPFAIL : CTL_UNAVAILABLE, "the queue did not answer: %s", error < 0 ? strerror(-error) : "it refused");
}

static uint64_t number_in(const struct buf *reply, const char *name)
{
	struct slice s = buf_slice(reply);
	size_t at = slice_find_slice(s, slice_of(name));
	return at < s.n ? strtoull(s.p + at + strlen(name), NULL, 10) : 0;
}

/* One question with many ids. The queue may have enough to write just now: then it is asked again. */
static int ask_act(struct ctl *c, const char *word, const char *argument, const char *ids, uint64_t *done, uint64_t *left)
{
	const char *words[3] = { word, argument ? argument : ids, argument ? ids : NULL };
	bool busy = true;
	while (busy) {
		struct buf reply = BUF_INIT(64 << 10);
		int code = ctl_ask(c, "queue", words, argument ? 3 : 2, &reply);
		buf_add_byte(&reply, '\0');
		busy = code == 0 && strstr(reply.p, "\"busy\":true");
		*done += number_in(&reply, "\"done\":");
		*left += number_in(&reply, "\"left\":");
		buf_free(&reply);
		if (code != 0)
			return unanswered(c, code);
		if (busy)
			usleep(BUSY_MS * 1000);
	}
	return 0;
}

static int act_on(struct ctl *c, const char *word, const char *argument, const struct picking *p, uint64_t *done, uint64_t *left)
{
	struct buf ids = BUF_INIT(BATCH * (UNIQUE_LENGTH + 1) + 1);
	int code = 0;
	for (size_t at = 0; at < p->count && !code;) {
		buf_clear(&ids);
		for (size_t end = at + BATCH; at < p->count && at < end; at++)
			buf_addf(&ids, "%s%s", ids.n ? " " : "", p->ids[at].text);
		buf_add_byte(&ids, '\0');
		code = ask_act(c, word, argument, ids.p, done, left);
		ctl_progress(c, word, at, p->count);
	}
	buf_free(&ids);
	return code;
}

/* The next hop stands before the ids. */
static int take_hop(struct ctl *c, struct queue_query *q, const char **out)
{
	struct slice place;
	const char *why = q->id_count ? map_place_parse(slice_of(q->ids[0]), &c->mem, &place) : "a next hop is wanted first";
	if (why)
		return ctl_fail(CTL_USAGE, "queue reroute NEXT-HOP ...: %s", why);
	*out = arena_cstr(&c->mem, place);
	q->ids = --q->id_count ? q->ids + 1 : NULL;
	return 0;
}

static int act(struct ctl *c, int argc, char **argv, enum spool_folder where, const char *word, bool wants_hop)
{
	struct queue_query q;
	struct picking p = { 0 };
	uint64_t done = 0, left = 0;
	const char *argument = NULL;
	bool dry = ctl_flag(&argc, argv, "--dry-run"), all = ctl_flag(&argc, argv, "--all");
	int before = argc;
	int code = queue_query_read(c, &argc, argv, &q);
	if (!code && wants_hop)
		code = take_hop(c, &q, &argument);
	if (!code && before == wants_hop && !all)
		code = ctl_fail(CTL_USAGE, "which messages? IDs, a query, or --all");
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	code = pick_all(c, &q, where, &p);
	bool missing = code == 1; /* what is there is acted on */
	code = missing ? 0 : code;
	if (!code && !dry)
		code = act_on(c, word, argument, &p, &done, &left);
	if (!code && c->json)
		printf("{\"matched\":%zu,\"done\":%llu,\"left\":%llu,\"dry_run\":%s}\n", p.count, (unsigned long long)done, (unsigned long long)left, dry ? "true" : "false");
	else if (!code && dry)
		printf("%zu message%s would be touched\n", p.count, p.count == 1 ? "" : "s");
	else if (!code)
		printf("%llu of %zu done%s\n", (unsigned long long)done, p.count, left ? "; the others are being tried just now, or are gone: try again" : "");
	mem_free(p.ids);
	return code ? code : missing ? 1 : left ? CTL_TEMPFAIL : 0;
}

#define ACT(function, where, word) \
	static int function(struct ctl *c, int argc, char **argv) \
	{ \
		return act(c, argc, argv, where, word, false); \
	}
ACT(run_hold, SPOOL_QUEUE, "hold")
ACT(run_release, SPOOL_QUEUE, "release")
ACT(run_remove, SPOOL_QUEUE, "remove")
ACT(run_bounce, SPOOL_QUEUE, "bounce")
ACT(run_dead_release, SPOOL_DEAD, "dead-release")
ACT(run_dead_drop, SPOOL_DEAD, "dead-drop")

/* What sendmail left in the drop folder is waiting as well. */
static int run_retry(struct ctl *c, int argc, char **argv)
{
	const char *words[] = { "drop" };
	struct buf reply = BUF_INIT(4096);
	bool all = false, dry = false;
	for (int i = 0; i < argc; i++) {
		all = all || strcmp(argv[i], "--all") == 0;
		dry = dry || strcmp(argv[i], "--dry-run") == 0;
	}
	int code = act(c, argc, argv, SPOOL_QUEUE, "retry", false), dropped = !code && all && !dry ? ctl_ask(c, "queue", words, 1, &reply) : 0;
	if (dropped)
		code = unanswered(c, dropped);
	buf_free(&reply);
	return code;
}

static int run_reroute(struct ctl *c, int argc, char **argv)
{
	return act(c, argc, argv, SPOOL_QUEUE, "reroute", true);
}

/* A domain by itself is the one whose mail hosts are asked for; everything else is as in the map `routes`. */
static const char *read_destination(struct ctl *c, const char *text, struct slice *place)
{
	struct slice word = slice_of(text);
	struct buf b = BUF_INIT(300);
	bool domain = slice_find(word, ':') == word.n && slice_find(word, '[') == word.n;
	buf_addf(&b, "%s%.*s", domain ? "mx:" : "", SLICE_FMT(word));
	const char *why = map_place_parse(arena_copy(&c->mem, buf_slice(&b)), &c->mem, place);
	buf_free(&b);
	return why;
}

struct waiting {
	struct slice place;
	uint64_t recipients;
};

static bool count_waiting(void *arg, const struct taken *t)
{
	struct waiting *w = arg;
	for (size_t i = 0; i < t->group_count; i++)
		w->recipients += slice_eq(t->groups[i].place, w->place) ? t->groups[i].recipients : 0;
	return true;
}

static int list_paused(struct ctl *c)
{
	struct buf reply = BUF_INIT(1 << 20);
	const char *words[] = { "paused" }, *before = "[";
	int code = ctl_ask(c, "queue", words, 1, &reply);
	struct slice rest = buf_slice(&reply), line;
	if (code)
		code = unanswered(c, code);
	else if (!c->json)
		ctl_print(rest);
	while (!code && c->json && rest.n) {
		struct buf text = BUF_INIT(2048);
		line = slice_cut(rest, '\n', &rest);
		buf_add_cstr(&text, before);
		text_add_json(&text, line);
		ctl_print(buf_slice(&text));
		buf_free(&text);
		before = ",";
	}
	if (!code && c->json)
		printf("%s]\n", *before == '[' ? "[" : "");
	buf_free(&reply);
	return code;
}

static bool is_paused(struct ctl *c, struct slice place)
{
	struct buf reply = BUF_INIT(1 << 20);
	const char *words[] = { "paused" };
	bool found = false;
	struct slice rest = ctl_ask(c, "queue", words, 1, &reply) ? SLICE_NONE : buf_slice(&reply);
	while (rest.n && !found)
		found = slice_eq(slice_cut(rest, '\n', &rest), place);
	buf_free(&reply);
	return found;
}

static int pause_or_resume(struct ctl *c, int argc, char **argv, const char *word)
{
	struct queue_query all = { .limit = 0 };
	struct waiting w = { .place = SLICE("") };
	struct buf reply = BUF_INIT(4096);
	bool one = argc == 1 && argv[0][0] != '-';
	const char *why = one ? read_destination(c, argv[0], &w.place) : "one destination is wanted: DOMAIN, HOST:PORT, [ADDRESS]:PORT";
	if (why)
		return ctl_fail(CTL_USAGE, "queue %s: %s", word, why);
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	const char *words[] = { word, arena_cstr(&c->mem, w.place) };
	if (c->json)
		return ctl_ask_and_print(c, "queue", words, 2);
	bool pause = strcmp(word, "pause") == 0;
	const char *now = pause ? "is paused" : is_paused(c, w.place) ? "is resumed" : "was not paused";
	int code = ctl_ask(c, "queue", words, 2, &reply);
	struct slice said = buf_slice(&reply);
	if (!code && slice_find_slice(said, SLICE("\"saved\":false")) < said.n)
		ctl_fail(0, "it could not be written down: a restart will forget it");
	buf_free(&reply);
	if (code)
		return unanswered(c, code);
	queue_survey_walk(c, &all, count_waiting, &w);
	printf("%.*s %s; %llu recipient%s wait%s for it%s\n", SLICE_FMT(w.place), now, (unsigned long long)w.recipients,
	       w.recipients == 1 ? "" : "s", w.recipients == 1 ? "s" : "", w.recipients ? "" : " (queue summary names the destinations)");
	return 0;
}

static int run_pause(struct ctl *c, int argc, char **argv)
{
	if (!argc)
		return ctl_settings_to_ask(c) ? list_paused(c) : CTL_CONFIG;
	return pause_or_resume(c, argc, argv, "pause");
}

static int run_resume(struct ctl *c, int argc, char **argv)
{
	return pause_or_resume(c, argc, argv, "resume");
}

/* Age by destination ------------------------------------------------------------------------------------------------------------------------ */

struct summary_row {
	struct index_node by_place;  /* first */
	char *place;
	uint64_t ages[AGES];
};
struct summary {
	struct index places;
	struct summary_row **rows;
	size_t count, room;
	int64_t now_s;
};

static const int64_t bounds[AGES] = { 300, 900, 3600, 4 * 3600, 86400, 3 * 86400, 7 * 86400, INT64_MAX };

static uint64_t hash_row(const struct index_node *n, const void *arg)
{
	(void)arg;
	return journal_checksum(slice_of(((const struct summary_row *)n)->place));
}

static bool is_row(const struct index_node *n, const void *place)
{
	return slice_eq(slice_of(((const struct summary_row *)n)->place), *(const struct slice *)place);
}

static struct summary_row *row_for(struct summary *s, struct slice place)
{
	uint64_t hash = journal_checksum(place);
	struct summary_row *r = (struct summary_row *)index_find(&s->places, hash, is_row, &place);
	if (r)
		return r;
	r = MEM_NEW(struct summary_row);
	r->place = mem_copy(place.p, place.n);
	index_add(&s->places, &r->by_place, hash);
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 64;
		s->rows = mem_grow(s->rows, s->room, sizeof *s->rows);
	}
	s->rows[s->count++] = r;
	return r;
}

static size_t column_of(const struct summary *s, int64_t arrived_s)
{
	size_t column = 0;
	while (s->now_s - arrived_s >= bounds[column])
		column++;
	return column;
}

static bool sum_row(void *arg, const struct queue_row *row, struct slice line)
{
	struct summary *s = arg;
	(void)line;
	for (size_t i = 0; i < row->message->envelope.recipient_count; i++)
		if (row->message->state.recipients[i].fate == RECIPIENT_WAITING)
			row_for(s, row->message->state.recipients[i].place)->ages[column_of(s, row->message->envelope.arrived_s)]++;
	return true;
}

static bool sum_taken(void *arg, const struct taken *t)
{
	struct summary *s = arg;
	size_t column = column_of(s, unique_time_us(t->id) / 1000000);
	for (size_t i = 0; i < t->group_count; i++)
		row_for(s, t->groups[i].place)->ages[column] += t->groups[i].recipients;
	return true;
}

static void summary_clear(struct summary *s)
{
	for (size_t i = 0; i < s->count; i++) {
		mem_free(s->rows[i]->place);
		mem_free(s->rows[i]);
	}
	index_free(&s->places);
	s->count = 0;
}

static int sum_all(struct ctl *c, const struct queue_query *q, struct summary *s)
{
	struct queue_walker with = { .take = sum_row, .arg = s };
	if (queue_survey_serves(q) && queue_survey_walk(c, q, sum_taken, s))
		return 0;
	summary_clear(s);
	return queue_query_walk(c, q, SPOOL_QUEUE, &with);
}

static uint64_t total_of(const struct summary_row *r)
{
	uint64_t n = 0;
	for (size_t i = 0; i < AGES; i++)
		n += r->ages[i];
	return n;
}

static int by_total(const void *left, const void *right)
{
	const struct summary_row *l = *(struct summary_row *const *)left, *r = *(struct summary_row *const *)right;
	uint64_t ours = total_of(l), theirs = total_of(r);
	return ours < theirs ? 1 : ours > theirs ? -1 : strcmp(l->place, r->place);
}

static void print_ages(const char *name, uint64_t total, const uint64_t *ages)
{
	printf("%-40.40s %8llu", name, (unsigned long long)total);
	for (size_t k = 0; k < AGES; k++)
		printf("%8llu", (unsigned long long)ages[k]);
	putchar('\n');
}

static void print_summary(const struct summary *s)
{
	uint64_t all = 0, ages[AGES] = { 0 };
	printf("%-40s %8s %7s %7s %7s %7s %7s %7s %7s %7s\n", "recipients that wait, by destination", "all", "<5m", "<15m", "<1h", "<4h", "<1d", "<3d", "<7d", "more");
	for (size_t i = 0; i < s->count; i++) {
		all += total_of(s->rows[i]);
		for (size_t k = 0; k < AGES; k++)
			ages[k] += s->rows[i]->ages[k];
	}
	if (s->count > 1)
		print_ages("all", all, ages);
	for (size_t i = 0; i < s->count; i++)
		print_ages(s->rows[i]->place, total_of(s->rows[i]), s->rows[i]->ages);
}

static void print_summary_json(const struct summary *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct buf line = BUF_INIT(4096);
		buf_add_cstr(&line, i ? ",\n{\"place\":" : "[{\"place\":");
		text_add_json(&line, slice_of(s->rows[i]->place));
		buf_addf(&line, ",\"all\":%llu,\"ages\":[", (unsigned long long)total_of(s->rows[i]));
		for (size_t k = 0; k < AGES; k++)
			buf_addf(&line, "%s%llu", k ? "," : "", (unsigned long long)s->rows[i]->ages[k]);
		buf_add_cstr(&line, "]}");
		ctl_print(buf_slice(&line));
		buf_free(&line);
	}
	puts(s->count ? "]" : "[]");
}

static int run_summary(struct ctl *c, int argc, char **argv)
{
	struct queue_query q;
	struct summary s = { .places = INDEX_INIT(hash_row, NULL), .now_s = clock_wall_s() };
	int code = queue_query_read(c, &argc, argv, &q);
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	code = sum_all(c, &q, &s);
	if (s.count)
		qsort(s.rows, s.count, sizeof *s.rows, by_total);
	if (c->json)
		print_summary_json(&s);
	else
		print_summary(&s);
	summary_clear(&s);
	mem_free(s.rows);
	return code;
}

#define QUERY "[ID ...] [--sender TEXT] [--recipient TEXT] [--domain DOMAIN] [--place TEXT] [--reason TEXT] [--evidence GRADE] [--older TIME] [--newer TIME] [--larger SIZE] " \
              "[--smaller SIZE] [--held] [--limit N]"
const struct ctl_command ctl_queue_commands[] = {
	{ "queue list", QUERY " " QUEUE_LIST_USAGE, "Lists the messages that wait, with the reason of the last deferral, word for word.\n\n"
	  "Texts of a query are parts, letters folded; a reason with * or ? is a pattern for the whole of it; --sender '<>' is the null path. Recipients that are done with don't count. Without --sort messages come in no order; with it, the oldest, largest, soonest or most often tried "
	  "come first, and --limit keeps the first ones. Columns (tabs between them): id, age, arrived, size, next, attempts, sender, recipients, place, reason, evidence.", run_list },
	{ "queue show", "ID [--body] [--json]", "Shows a message: envelope, history of attempts, next try, header section; with --body all of its content. On a terminal control characters are escaped.", run_show },
	{ "queue summary", QUERY " [--json]", "Counts the recipients that wait, by destination and age.", run_summary },
	{ "queue retry", QUERY " [--all] [--dry-run]", "Tries messages now; with --all also what sendmail left in the drop folder. What was handed in to be sent later (FUTURERELEASE) still is.", run_retry },
	{ "queue hold", QUERY " [--all] [--dry-run]", "Keeps messages where they are until they are released.", run_hold },
	{ "queue release", QUERY " [--all] [--dry-run]", "Lets held messages go on.", run_release },
	{ "queue remove", QUERY " [--all] [--dry-run]", "Removes messages without a report.", run_remove },
	{ "queue bounce", QUERY " [--all] [--dry-run]", "Gives messages up now: the failure is reported, if the gate allows it.", run_bounce },
	{ "queue reroute", "NEXT-HOP " QUERY " [--all] [--dry-run]", "Sends messages to another next hop from now on.", run_reroute },
	{ "queue pause", "[DESTINATION]", "Tries nothing to this destination until it is resumed, over restarts as well: DOMAIN (by its mail hosts), or HOST:PORT, [ADDRESS]:PORT, lmtp:... as in routes. Without one, lists what is paused.", run_pause },
	{ "queue resume", "DESTINATION", "Goes on with a paused destination.", run_resume },
	{ "dead list", QUERY " " QUEUE_LIST_USAGE, "Lists the dead letters: messages whose failure was not reported, since the sender was not proven, and those that a filter held back.", run_dead_list },
	{ "dead show", "ID [--body] [--json]", "Shows a dead letter.", run_dead_show },
	{ "dead release", QUERY " [--all] [--dry-run]", "Puts dead letters back into the queue, to be tried once more.", run_dead_release },
	{ "dead drop", QUERY " [--all] [--dry-run]", "Removes dead letters.", run_dead_drop },
	{ NULL, NULL, NULL, NULL }
};
