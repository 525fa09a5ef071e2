/* porterctl queue and porterctl dead: looking at messages, and acting on those that a query names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mail_date.h"
#include "base/mem.h"
#include "base/text.h"
#include "ctl/queue_query.h"
#include "ctl/tables.h"
#include "maps/map_value.h"

enum { MAX_LINE = 64 << 10, BATCH = 60, AGES = 8, MAX_HEADER = 64 << 10 };

/* Lists ---------------------------------------------------------------------------------------------------------------------------------- */

struct listing {
	struct ctl *c;
	struct buf line;
	size_t count;
	int64_t now_s;
};

static void add_age(struct buf *out, int64_t s)
{
	if (s < 0)
		s = 0;
	if (s < 120)
		buf_addf(out, "%llds", (long long)s);
	else if (s < 7200)
		buf_addf(out, "%lldm", (long long)s / 60);
	else if (s < 172800)
		buf_addf(out, "%lldh", (long long)s / 3600);
	else
		buf_addf(out, "%lldd", (long long)s / 86400);
}

static void json_row(struct listing *l, const struct queue_row *row)
{
	const struct spool_message *m = row->message;
	buf_addf(&l->line, "%s{\"id\":\"%.*s\",\"arrived\":%lld,\"expires\":%lld,\"size\":%llu,\"held\":%s,\"evidence\":\"%.*s\",\"from\":", l->count ? ",\n" : "", SLICE_FMT(row->id),
	         (long long)m->envelope.arrived_s, (long long)m->envelope.expires_s, (unsigned long long)m->content_length, m->state.held ? "true" : "false",
	         SLICE_FMT(evidence_name(m->envelope.evidence.grade)));
	text_add_json(&l->line, m->envelope.reverse_path);
	buf_addf(&l->line, ",\"next\":%lld,\"recipients\":[", (long long)row->next_s);
	static const char *const fates[] = { "waiting", "done", "failed" };
	for (size_t i = 0; i < m->envelope.recipient_count && !buf_full(&l->line); i++) {
		const struct recipient_state *s = &m->state.recipients[i];
		buf_addf(&l->line, "%s{\"address\":", i ? "," : "");
		text_add_json(&l->line, m->envelope.recipients[i].address);
		buf_addf(&l->line, ",\"fate\":\"%s\",\"attempts\":%u,\"code\":%u,\"place\":", fates[s->fate], s->attempts, s->attempts ? s->status.code : 0);
		text_add_json(&l->line, s->place);
		buf_add_cstr(&l->line, ",\"host\":");
		text_add_json(&l->line, s->host);
		buf_add_cstr(&l->line, ",\"reason\":");
		text_add_json(&l->line, s->status.text);
		buf_add_cstr(&l->line, "}");
	}
	buf_add_cstr(&l->line, "]}");
}

static void text_row(struct listing *l, const struct queue_row *row)
{
	const struct envelope *e = &row->message->envelope;
	struct buf age = BUF_INIT(32), next = BUF_INIT(32);
	add_age(&age, l->now_s - e->arrived_s);
	if (row->message->state.held)
		buf_add_cstr(&next, "held");
	else if (row->next_s > l->now_s)
		add_age(&next, row->next_s - l->now_s);
	else
		buf_add_cstr(&next, row->waiting ? "now" : "-");
	buf_addf(&l->line, "%.*s %5.*s %8llu %5.*s  <%.*s> -> ", SLICE_FMT(row->id), SLICE_FMT(buf_slice(&age)), (unsigned long long)row->message->content_length,
	         SLICE_FMT(buf_slice(&next)), SLICE_FMT(e->reverse_path));
	text_add_escaped(&l->line, slice_head(e->recipients[0].address, 100));
	if (e->recipient_count > 1)
		buf_addf(&l->line, " and %zu more", e->recipient_count - 1);
	buf_add_cstr(&l->line, "\n");
	if (row->reason.n) {
		buf_add_cstr(&l->line, "                      ");
		text_add_escaped(&l->line, slice_head(row->place, 60));
		buf_add_cstr(&l->line, ": ");
		text_add_escaped(&l->line, slice_head(row->reason, 200));
		buf_add_cstr(&l->line, "\n");
	}
	buf_free(&age);
	buf_free(&next);
}

static bool list_one(void *arg, const struct queue_row *row)
{
	struct listing *l = arg;
	buf_clear(&l->line);
	if (l->c->json)
		json_row(l, row);
	else
		text_row(l, row);
	l->count++;
	ctl_print(buf_slice(&l->line));
	return true;
}

static int list(struct ctl *c, int argc, char **argv, enum spool_folder where)
{
	struct queue_query q;
	struct listing l = { .c = c, .line = BUF_INIT(16 << 20), .now_s = clock_wall_s() };
	int code = queue_query_read(c, &argc, argv, &q);
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	if (c->json)
		fputs("[", stdout);
	else
		puts("id                 age     size  next  from -> to");
	code = queue_query_walk(c, &q, where, list_one, &l);
	if (c->json)
		fputs("]\n", stdout);
	else
		printf("%zu message%s\n", l.count, l.count == 1 ? "" : "s");
	buf_free(&l.line);
	return code;
}

static int run_list(struct ctl *c, int argc, char **argv)
{
	return list(c, argc, argv, SPOOL_QUEUE);
}

static int run_dead_list(struct ctl *c, int argc, char **argv)
{
	return list(c, argc, argv, SPOOL_DEAD);
}

/* One message, whole ----------------------------------------------------------------------------------------------------------------------- */

struct showing {
	struct ctl *c;
	bool body, found;
};

static void print_content(const struct spool_message *m, bool body)
{
	char piece[16384];
	uint64_t at = 0;
	struct buf head = BUF_INIT(MAX_HEADER);
	while (at < m->content_length) {
		uint64_t left = m->content_length - at;
		ssize_t n = pread(m->fd, piece, left < sizeof piece ? (size_t)left : sizeof piece, (off_t)(m->content_offset + at));
		if (n <= 0)
			break;
		at += (uint64_t)n;
		if (body) {
			fwrite(piece, 1, (size_t)n, stdout);
			continue;
		}
		buf_add(&head, slice(piece, (size_t)n));
		size_t end = slice_find_slice(buf_slice(&head), SLICE("\r\n\r\n"));
		if (end < head.n || buf_full(&head)) {
			fwrite(head.p, 1, end < head.n ? end + 2 : head.n, stdout);
			break;
		}
	}
	buf_free(&head);
}

static void print_time(const char *what, int64_t at_s)
{
	struct buf b = BUF_INIT(100);
	mail_date_print_local(&b, at_s);
	printf("%s %.*s\n", what, SLICE_FMT(buf_slice(&b)));
	buf_free(&b);
}

static void print_history(struct slice journal)
{
	struct event e;
	while (event_next(&journal, &e)) {
		struct buf b = BUF_INIT(8192);
		mail_date_print_local(&b, e.at_s);
		buf_addf(&b, "  %.*s", SLICE_FMT(event_name(e.kind)));
		if (e.recipient != EVENT_ALL_RECIPIENTS)
			buf_addf(&b, " recipient %u", e.recipient + 1);
		if (e.host.n) {
			buf_add_cstr(&b, " at ");
			text_add_escaped(&b, e.host);
		}
		if (e.status.text.n) {
			buf_addf(&b, ": %u ", e.status.code);
			text_add_escaped(&b, e.status.text);
		}
		printf("%.*s\n", SLICE_FMT(buf_slice(&b)));
		buf_free(&b);
	}
}

static bool show_one(void *arg, const struct queue_row *row)
{
	struct showing *s = arg;
	const struct spool_message *m = row->message;
	const struct envelope *e = &m->envelope;
	s->found = true;
	if (s->c->json) {
		struct listing l = { .c = s->c, .line = BUF_INIT(16 << 20) };
		list_one(&l, row);
		puts("");
		buf_free(&l.line);
		return true;
	}
	printf("id %.*s\nfrom <%.*s>, evidence %.*s: %.*s (%.*s)\nclient %.*s, transaction %.*s\nsize %llu\n", SLICE_FMT(row->id), SLICE_FMT(e->reverse_path),
	       SLICE_FMT(evidence_name(e->evidence.grade)), SLICE_FMT(e->evidence.who), SLICE_FMT(e->evidence.reason), SLICE_FMT(e->client), SLICE_FMT(e->transaction),
	       (unsigned long long)m->content_length);
	print_time("arrived", e->arrived_s);
	print_time("expires", e->expires_s);
	if (row->next_s)
		print_time("next try", row->next_s);
	static const char *const fates[] = { "waits", "done", "failed" };
	for (size_t i = 0; i < e->recipient_count; i++)
		printf("to <%.*s> by %.*s: %s, %u attempts\n", SLICE_FMT(e->recipients[i].address), SLICE_FMT(m->state.recipients[i].place), fates[m->state.recipients[i].fate],
		       m->state.recipients[i].attempts);
	print_history(m->journal);
	puts("");
	print_content(m, s->body);
	return true;
}

static int show(struct ctl *c, int argc, char **argv, enum spool_folder where)
{
	struct queue_query q;
	struct showing s = { .c = c, .body = ctl_flag(&argc, argv, "--body") };
	int code = queue_query_read(c, &argc, argv, &q);
	if (!code && q.id_count != 1)
		code = ctl_fail(CTL_USAGE, "one ID is wanted");
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	code = queue_query_walk(c, &q, where, show_one, &s);
	return code || s.found ? code : ctl_fail(1, "there is no message %s there", q.ids[0]);
}

static int run_show(struct ctl *c, int argc, char **argv)
{
	return show(c, argc, argv, SPOOL_QUEUE);
}

static int run_dead_show(struct ctl *c, int argc, char **argv)
{
	return show(c, argc, argv, SPOOL_DEAD);
}

/* Acts ---------------------------------------------------------------------------------------------------------------------------------- */

struct picking {
	char **ids;
	size_t count, room;
};

static bool pick_one(void *arg, const struct queue_row *row)
{
	struct picking *p = arg;
	if (p->count == p->room) {
		p->room = p->room ? p->room * 2 : 256;
		p->ids = mem_grow(p->ids, p->room, sizeof *p->ids);
	}
	p->ids[p->count++] = mem_copy(row->id.p, row->id.n);
	return true;
}

static uint64_t number_in(const struct buf *reply, const char *name)
{
	struct slice s = buf_slice(reply);
	size_t at = slice_find_slice(s, slice_of(name));
	return at < s.n ? strtoull(s.p + at + strlen(name), NULL, 10) : 0;
}

/* In batches, since a question has few words. */
static int act_on(struct ctl *c, const char *word, const char *argument, const struct picking *p, uint64_t *done, uint64_t *left)
{
	for (size_t from = 0; from < p->count; from += BATCH) {
		const char *words[BATCH + 2] = { word };
		size_t n = 1;
		if (argument)
			words[n++] = argument;
		for (size_t i = from; i < p->count && i < from + BATCH; i++)
			words[n++] = p->ids[i];
		struct buf reply = BUF_INIT(64 << 10);
		int code = ctl_ask(c, "queue", words, n, &reply);
		buf_add_byte(&reply, '\0');
		if (code != 0) {
			buf_free(&reply);
			return ctl_fail(CTL_UNAVAILABLE, "the queue did not answer: %s (is porterd running?)", code < 0 ? strerror(-code) : "it refused");
		}
		*done += number_in(&reply, "\"done\":");
		*left += number_in(&reply, "\"left\":");
		buf_free(&reply);
		ctl_progress(c, word, from + BATCH < p->count ? from + BATCH : p->count, p->count);
	}
	return 0;
}

static int act(struct ctl *c, int argc, char **argv, enum spool_folder where, const char *word, const char *argument)
{
	struct queue_query q;
	struct picking p = { 0 };
	uint64_t done = 0, left = 0;
	bool dry = ctl_flag(&argc, argv, "--dry-run"), all = ctl_flag(&argc, argv, "--all");
	int before = argc;
	int code = queue_query_read(c, &argc, argv, &q);
	if (!code && before == 0 && !all)
		code = ctl_fail(CTL_USAGE, "which messages? IDs, a query, or --all");
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	code = queue_query_walk(c, &q, where, pick_one, &p);
	if (!code && !dry)
		code = act_on(c, word, argument, &p, &done, &left);
	if (!code && c->json)
		printf("{\"matched\":%zu,\"done\":%llu,\"left\":%llu,\"dry_run\":%s}\n", p.count, (unsigned long long)done, (unsigned long long)left, dry ? "true" : "false");
	else if (!code && dry)
		printf("%zu message%s would be touched\n", p.count, p.count == 1 ? "" : "s");
	else if (!code)
		printf("%llu of %zu done%s\n", (unsigned long long)done, p.count, left ? "; the others are being tried just now, or are gone: try again" : "");
	for (size_t i = 0; i < p.count; i++)
		mem_free(p.ids[i]);
	mem_free(p.ids);
	return code;
}

#define ACT(function, where, word) \
	static int function(struct ctl *c, int argc, char **argv) \
	{ \
		return act(c, argc, argv, where, word, NULL); \
	}
ACT(run_retry, SPOOL_QUEUE, "retry")
ACT(run_hold, SPOOL_QUEUE, "hold")
ACT(run_release, SPOOL_QUEUE, "release")
ACT(run_remove, SPOOL_QUEUE, "remove")
ACT(run_bounce, SPOOL_QUEUE, "bounce")
ACT(run_dead_release, SPOOL_DEAD, "dead-release")
ACT(run_dead_drop, SPOOL_DEAD, "dead-drop")

static int run_reroute(struct ctl *c, int argc, char **argv)
{
	struct slice place;
	const char *why = argc ? map_place_parse(slice_of(argv[0]), &c->mem, &place) : "a next hop is wanted first";
	if (why)
		return ctl_fail(CTL_USAGE, "queue reroute NEXT-HOP ...: %s", why);
	return act(c, argc - 1, argv + 1, SPOOL_QUEUE, "reroute", arena_cstr(&c->mem, place));
}

static int pause_or_resume(struct ctl *c, int argc, char **argv, const char *word)
{
	struct slice place;
	const char *why = argc == 1 ? map_place_parse(slice_of(argv[0]), &c->mem, &place) : "one destination is wanted: mx:DOMAIN, HOST:PORT, [ADDRESS]:PORT";
	if (why)
		return ctl_fail(CTL_USAGE, "queue %s: %s", word, why);
	const char *words[] = { word, arena_cstr(&c->mem, place) };
	return ctl_settings_to_ask(c) ? ctl_ask_and_print(c, "queue", words, 2) : CTL_CONFIG;
}

static int run_pause(struct ctl *c, int argc, char **argv)
{
	return pause_or_resume(c, argc, argv, "pause");
}

static int run_resume(struct ctl *c, int argc, char **argv)
{
	return pause_or_resume(c, argc, argv, "resume");
}

/* Age by destination ------------------------------------------------------------------------------------------------------------------------ */

struct summary_row {
	char *place;
	uint64_t ages[AGES];
};
struct summary {
	struct summary_row *rows;
	size_t count, room;
	int64_t now_s;
};

static const int64_t bounds[AGES] = { 300, 900, 3600, 4 * 3600, 86400, 3 * 86400, 7 * 86400, INT64_MAX };

static struct summary_row *row_for(struct summary *s, struct slice place)
{
	for (size_t i = 0; i < s->count; i++)
		if (slice_eq(slice_of(s->rows[i].place), place))
			return &s->rows[i];
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 64;
		s->rows = mem_grow(s->rows, s->room, sizeof *s->rows);
	}
	s->rows[s->count] = (struct summary_row){ .place = mem_copy(place.p, place.n) };
	return &s->rows[s->count++];
}

static bool sum_one(void *arg, const struct queue_row *row)
{
	struct summary *s = arg;
	int64_t age = s->now_s - row->message->envelope.arrived_s;
	size_t column = 0;
	while (age >= bounds[column])
		column++;
	for (size_t i = 0; i < row->message->envelope.recipient_count; i++)
		if (row->message->state.recipients[i].fate == RECIPIENT_WAITING)
			row_for(s, row->message->state.recipients[i].place)->ages[column]++;
	return true;
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
	uint64_t l = total_of(left), r = total_of(right);
	return l < r ? 1 : l > r ? -1 : strcmp(((const struct summary_row *)left)->place, ((const struct summary_row *)right)->place);
}

static void print_summary(const struct ctl *c, const struct summary *s)
{
	if (!c->json)
		printf("%-40s %8s %7s %7s %7s %7s %7s %7s %7s %7s\n", "recipients that wait, by destination", "all", "<5m", "<15m", "<1h", "<4h", "<1d", "<3d", "<7d", "more");
	for (size_t i = 0; i < s->count; i++) {
		const struct summary_row *r = &s->rows[i];
		printf(c->json ? "%s{\"place\":\"%s\",\"all\":%llu,\"ages\":[" : "%s%-40.40s %8llu", c->json && i ? ",\n" : "", r->place, (unsigned long long)total_of(r));
		for (size_t k = 0; k < AGES; k++)
			printf(c->json ? "%s%llu" : "%s%8llu", c->json && k ? "," : "", (unsigned long long)r->ages[k]);
		fputs(c->json ? "]}" : "\n", stdout);
	}
}

static int run_summary(struct ctl *c, int argc, char **argv)
{
	struct queue_query q;
	struct summary s = { .now_s = clock_wall_s() };
	int code = queue_query_read(c, &argc, argv, &q);
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	code = queue_query_walk(c, &q, SPOOL_QUEUE, sum_one, &s);
	if (s.count)
		qsort(s.rows, s.count, sizeof *s.rows, by_total);
	fputs(c->json ? "[" : "", stdout);
	print_summary(c, &s);
	fputs(c->json ? "]\n" : "", stdout);
	for (size_t i = 0; i < s.count; i++)
		mem_free(s.rows[i].place);
	mem_free(s.rows);
	return code;
}

#define QUERY "[ID ...] [--sender TEXT] [--recipient TEXT] [--domain DOMAIN] [--place TEXT] [--reason TEXT] [--evidence GRADE] [--older TIME] [--newer TIME] [--larger SIZE] " \
              "[--smaller SIZE] [--held] [--limit N]"
const struct ctl_command ctl_queue_commands[] = {
	{ "queue list", QUERY " [--json]", "Lists the messages that wait, with the reason of the last deferral, word for word.", run_list },
	{ "queue show", "ID [--body] [--json]", "Shows a message: envelope, history of attempts, next try, header section; with --body all of its content.", run_show },
	{ "queue summary", QUERY " [--json]", "Counts the recipients that wait, by destination and age.", run_summary },
	{ "queue retry", QUERY " [--all] [--dry-run]", "Tries messages now.", run_retry },
	{ "queue hold", QUERY " [--all] [--dry-run]", "Keeps messages where they are until they are released.", run_hold },
	{ "queue release", QUERY " [--all] [--dry-run]", "Lets held messages go on.", run_release },
	{ "queue remove", QUERY " [--all] [--dry-run]", "Removes messages without a report.", run_remove },
	{ "queue bounce", QUERY " [--all] [--dry-run]", "Gives messages up now: the failure is reported, if the gate allows it.", run_bounce },
	{ "queue reroute", "NEXT-HOP " QUERY " [--all] [--dry-run]", "Sends messages to another next hop from now on.", run_reroute },
	{ "queue pause", "DESTINATION", "Tries nothing to this destination until it is resumed or the queue is restarted.", run_pause },
	{ "queue resume", "DESTINATION", "Goes on with a paused destination.", run_resume },
	{ "dead list", QUERY " [--json]", "Lists the dead letters: messages whose failure was not reported, since the sender was not proven.", run_dead_list },
	{ "dead show", "ID [--body] [--json]", "Shows a dead letter.", run_dead_show },
	{ "dead release", QUERY " [--all] [--dry-run]", "Puts dead letters back into the queue, to be tried once more.", run_dead_release },
	{ "dead drop", QUERY " [--all] [--dry-run]", "Removes dead letters.", run_dead_drop },
	{ NULL, NULL, NULL, NULL }
};
