/* Lists of queued messages. */
#include "ctl/queue_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mail_date.h"
#include "base/mem.h"
#include "base/text.h"

enum { MAX_COLUMNS = 16, SPARE_ROWS = 1000, PRINT_BUFFER = 64 << 10 };

/* Columns -------------------------------------------------------------------------------------------------------------------------------- */

static void add_age(struct buf *out, int64_t s)
{
	static const struct {
		int64_t below, unit;
		char letter;
	} units[] = { { 120, 1, 's' }, { 7200, 60, 'm' }, { 172800, 3600, 'h' }, { INT64_MAX, 86400, 'd' } };
	size_t i = 0;
	while (i + 1 < sizeof units / sizeof *units && s >= units[i].below)
		i++;
	buf_add_uint(out, s > 0 ? (uint64_t)(s / units[i].unit) : 0);
	buf_add_byte(out, units[i].letter);
}

static void add_next(struct buf *out, const struct queue_row *row, int64_t now_s)
{
	if (row->message->state.held)
		buf_add_cstr(out, "held");
	else if (row->next_s > now_s)
		add_age(out, row->next_s - now_s);
	else
		buf_add_cstr(out, row->waiting ? "now" : "-");
}

static unsigned attempts_of(const struct queue_row *row)
{
	unsigned most = 0;
	for (size_t i = 0; i < row->message->envelope.recipient_count; i++)
		most = row->message->state.recipients[i].attempts > most ? row->message->state.recipients[i].attempts : most;
	return most;
}

static void put_id(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, buf_add(out, row->id); }
static void put_age(struct buf *out, const struct queue_row *row, int64_t now_s) { add_age(out, now_s - row->message->envelope.arrived_s); }
static void put_arrived(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, mail_date_print_local(out, row->message->envelope.arrived_s); }
static void put_size(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, buf_add_uint(out, row->message->content_length); }
static void put_next(struct buf *out, const struct queue_row *row, int64_t now_s) { add_next(out, row, now_s); }
static void put_attempts(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, buf_add_uint(out, attempts_of(row)); }
static void put_sender(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, text_add_escaped(out, row->message->envelope.reverse_path); }
static void put_place(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, text_add_escaped(out, row->place); }
static void put_reason(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, text_add_escaped(out, row->reason); }
static void put_evidence(struct buf *out, const struct queue_row *row, int64_t now_s) { (void)now_s, buf_add(out, evidence_name(row->message->envelope.evidence.grade)); }

static void put_recipients(struct buf *out, const struct queue_row *row, int64_t now_s)
{
	(void)now_s;
	for (size_t i = 0; i < row->message->envelope.recipient_count; i++) {
		buf_add_cstr(out, i ? "," : "");
		text_add_escaped(out, row->message->envelope.recipients[i].address);
	}
}

typedef void (*put_column)(struct buf *out, const struct queue_row *row, int64_t now_s);
static const struct {
	struct slice name;
	put_column put;
} columns[] = {
	{ SLICE_INIT("id"), put_id },             { SLICE_INIT("age"), put_age },             { SLICE_INIT("arrived"), put_arrived },     { SLICE_INIT("size"), put_size },
	{ SLICE_INIT("next"), put_next },         { SLICE_INIT("attempts"), put_attempts },   { SLICE_INIT("sender"), put_sender },       { SLICE_INIT("recipients"), put_recipients },
	{ SLICE_INIT("place"), put_place },       { SLICE_INIT("reason"), put_reason },       { SLICE_INIT("evidence"), put_evidence },
};

/* Rows ----------------------------------------------------------------------------------------------------------------------------------- */

enum sort { SORT_NONE, SORT_AGE, SORT_SIZE, SORT_NEXT, SORT_ATTEMPTS, SORT_SENDER, SORT_RECIPIENT, SORT_PLACE };

struct kept {
	int64_t number;
	char *text;                      /* key, then line */
	size_t key_n, line_n;
};

struct listing {
	struct ctl *c;
	int64_t now_s;
	enum sort sort;
	bool reverse, headed;
	const char *names;               /* of the columns, as they were given */
	put_column columns[MAX_COLUMNS];
	size_t column_count;
	size_t limit, kept_in_all, printed; /* limit: of sorted rows */
	struct kept *kept;
	size_t kept_count, room;
};

void queue_list_json(struct buf *out, const struct queue_row *row)
{
	const struct spool_message *m = row->message;
	buf_addf(out, "{\"id\":\"%.*s\",\"arrived\":%lld,\"expires\":%lld,\"size\":%llu,\"held\":%s,\"evidence\":\"%.*s\",\"from\":", SLICE_FMT(row->id), (long long)m->envelope.arrived_s,
	         (long long)m->envelope.expires_s, (unsigned long long)m->content_length, m->state.held ? "true" : "false", SLICE_FMT(evidence_name(m->envelope.evidence.grade)));
	text_add_json(out, m->envelope.reverse_path);
	buf_addf(out, ",\"next\":%lld,\"recipients\":[", (long long)row->next_s);
	static const char *const fates[] = { "waiting", "done", "failed" };
	for (size_t i = 0; i < m->envelope.recipient_count && !buf_full(out); i++) {
		const struct recipient_state *s = &m->state.recipients[i];
		buf_addf(out, "%s{\"address\":", i ? "," : "");
		text_add_json(out, m->envelope.recipients[i].address);
		buf_addf(out, ",\"fate\":\"%s\",\"attempts\":%u,\"code\":%u,\"place\":", fates[s->fate], s->attempts, s->attempts ? s->status.code : 0);
		text_add_json(out, s->place);
		buf_add_cstr(out, ",\"host\":");
		text_add_json(out, s->host);
		buf_add_cstr(out, ",\"reason\":");
		text_add_json(out, s->status.text);
		buf_add_cstr(out, "}");
	}
	buf_add_cstr(out, "]}");
}

static void add_right(struct buf *out, struct slice text, size_t width)
{
	while (width-- > text.n)
		buf_add_byte(out, ' ');
	buf_add(out, text);
}

static void add_first_line(const struct listing *l, const struct queue_row *row, struct buf *out)
{
	const struct envelope *e = &row->message->envelope;
	struct buf piece = BUF_INIT(32);
	buf_add(out, row->id);
	add_age(&piece, l->now_s - e->arrived_s);
	add_right(out, buf_slice(&piece), 6);
	buf_clear(&piece);
	buf_add_uint(&piece, row->message->content_length);
	add_right(out, buf_slice(&piece), 9);
	buf_clear(&piece);
	add_next(&piece, row, l->now_s);
	add_right(out, buf_slice(&piece), 6);
	buf_free(&piece);
	buf_add_cstr(out, "  <");
	text_add_escaped(out, e->reverse_path);
	buf_add_cstr(out, "> -> ");
	text_add_escaped(out, slice_head(e->recipients[0].address, 100));
	if (e->recipient_count > 1)
		buf_addf(out, " and %zu more", e->recipient_count - 1);
	buf_add_byte(out, '\n');
}

static void text_row(const struct listing *l, const struct queue_row *row, struct buf *out)
{
	add_first_line(l, row, out);
	if (!row->reason.n)
		return;
	buf_add(out, SLICE("                      "));
	text_add_escaped(out, slice_head(row->place, 60));
	buf_add(out, SLICE(": "));
	text_add_escaped(out, slice_head(row->reason, 200));
	buf_add_byte(out, '\n');
}

static void look(void *arg, const struct queue_row *row, struct buf *line)
{
	const struct listing *l = arg;
	if (l->c->json) {
		buf_add_cstr(line, line->n ? ",\n" : "");
		queue_list_json(line, row);
		return;
	}
	if (!l->column_count) {
		text_row(l, row, line);
		return;
	}
	for (size_t i = 0; i < l->column_count; i++) {
		buf_add_cstr(line, i ? "\t" : "");
		l->columns[i](line, row, l->now_s);
	}
	buf_add_cstr(line, "\n");
}

/* Once, before the first row: who may not read the spool is told nothing of it. */
static void print_head(struct listing *l)
{
	if (l->headed)
		return;
	l->headed = true;
	if (l->c->json) {
		fputs("[", stdout);
		return;
	}
	if (!l->column_count) {
		puts("id                 age     size  next  from -> to");
		return;
	}
	for (const char *name = l->names; *name; name++)
		putchar(*name == ',' ? '\t' : *name);
	putchar('\n');
}

static void print_rows(void *arg, size_t rows, struct slice lines)
{
	struct listing *l = arg;
	print_head(l);
	if (l->c->json && l->printed)
		fputs(",\n", stdout);
	l->printed += rows;
	ctl_print(lines);
}

/* Sorting -------------------------------------------------------------------------------------------------------------------------------- */

static struct slice key_of(const struct listing *l, const struct queue_row *row, int64_t *number)
{
	const struct envelope *e = &row->message->envelope;
	*number = 0;
	switch (l->sort) {
	case SORT_AGE:
		*number = e->arrived_s;
		break;
	case SORT_SIZE:
		*number = -(int64_t)row->message->content_length;
		break;
	case SORT_NEXT:
		*number = row->next_s;
		break;
	case SORT_ATTEMPTS:
		*number = -(int64_t)attempts_of(row);
		break;
	case SORT_SENDER:
		return e->reverse_path;
	case SORT_RECIPIENT:
		return e->recipients[0].address;
	case SORT_PLACE:
		return row->place;
	case SORT_NONE:
		break;
	}
	return row->id;
}

static int compare(const void *left, const void *right, void *arg)
{
	const struct kept *l = left, *r = right;
	int order = l->number < r->number ? -1 : l->number > r->number ? 1 : slice_cmp(slice(l->text, l->key_n), slice(r->text, r->key_n));
	return ((const struct listing *)arg)->reverse ? -order : order;
}

/* Sorts, and forgets what is past the limit. */
static void sort_kept(struct listing *l)
{
	if (l->kept_count)
		qsort_r(l->kept, l->kept_count, sizeof *l->kept, compare, l);
	while (l->limit && l->kept_count > l->limit)
		mem_free(l->kept[--l->kept_count].text);
}

static void keep_row(struct listing *l, const struct queue_row *row, struct slice line)
{
	struct kept k = { .line_n = line.n };
	struct slice key = key_of(l, row, &k.number);
	k.key_n = key.n;
	k.text = mem_new(key.n + line.n + 1);
	memcpy(k.text, key.p, key.n);
	memcpy(k.text + key.n, line.p, line.n);
	if (l->limit && l->kept_count >= 2 * l->limit + SPARE_ROWS)
		sort_kept(l);
	if (l->kept_count == l->room) {
		l->room = l->room ? l->room * 2 : 256;
		l->kept = mem_grow(l->kept, l->room, sizeof *l->kept);
	}
	l->kept[l->kept_count++] = k;
	l->kept_in_all++;
}

static bool take(void *arg, const struct queue_row *row, struct slice line)
{
	struct listing *l = arg;
	if (l->sort)
		keep_row(l, row, line);
	else
		print_rows(l, 1, line);
	return true;
}

static void print_kept(struct listing *l)
{
	sort_kept(l);
	for (size_t i = 0; i < l->kept_count; i++) {
		print_rows(l, 1, slice(l->kept[i].text + l->kept[i].key_n, l->kept[i].line_n));
		mem_free(l->kept[i].text);
	}
	mem_free(l->kept);
}

/* The command ------------------------------------------------------------------------------------------------------------------------------ */

static int read_sort(const char *text, enum sort *out)
{
	static const char *const names[] = { [SORT_AGE] = "age", [SORT_SIZE] = "size", [SORT_NEXT] = "next", [SORT_ATTEMPTS] = "attempts", [SORT_SENDER] = "sender",
	                                     [SORT_RECIPIENT] = "recipient",
		                             [SORT_PLACE] = "place" };
	for (size_t i = SORT_AGE; text && i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], text) == 0) {
			*out = (enum sort)i;
			return 0;
		}
	return text ? ctl_fail(CTL_USAGE, "--sort wants age, size, next, attempts, sender, recipient or place") : 0;
}

static bool add_column(struct listing *l, struct slice name)
{
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		if (slice_eq(columns[i].name, name) && l->column_count < MAX_COLUMNS) {
			l->columns[l->column_count++] = columns[i].put;
			return true;
		}
	return false;
}

static int read_columns(const char *text, struct listing *l)
{
	for (struct slice rest = slice_of(text); rest.n;)
		if (!add_column(l, slice_cut(rest, ',', &rest)))
			return ctl_fail(CTL_USAGE, "--columns wants some of id,age,arrived,size,next,attempts,sender,recipients,place,reason,evidence");
	return 0;
}

int queue_list(struct ctl *c, int argc, char **argv, enum spool_folder where)
{
	struct queue_query q;
	struct listing l = { .c = c, .now_s = clock_wall_s(), .reverse = ctl_flag(&argc, argv, "--reverse") };
	struct queue_walker with = { .look = look, .take = take, .arg = &l };
	l.names = ctl_value(&argc, argv, "--columns");
	int code = read_sort(ctl_value(&argc, argv, "--sort"), &l.sort);
	code = code ? code : read_columns(l.names, &l);
	code = code ? code : queue_query_read(c, &argc, argv, &q);
	if (code || !ctl_settings(c))
		return code ? code : CTL_CONFIG;
	if (l.sort) {
		l.limit = q.limit;
		q.limit = 0;
	}
	if (!l.sort && !q.limit)
		with.give = print_rows, with.take = NULL;
	with.quiet = !l.sort && isatty(STDOUT_FILENO);
	if (!isatty(STDOUT_FILENO))
		setvbuf(stdout, NULL, _IOFBF, PRINT_BUFFER);
	code = queue_query_walk(c, &q, where, &with);
	if (code > 1)
		return code;
	print_head(&l);
	size_t count = l.sort ? l.kept_in_all : l.printed;
	if (l.sort)
		print_kept(&l);
	if (c->json)
		fputs("]\n", stdout);
	else if (!l.column_count)
		printf("%zu message%s\n", count, count == 1 ? "" : "s");
	return code;
}
