/* porterctl trace: the life of a message, out of the log. A line belongs to it when it names one of its ids; ids lead to each other (a transaction to what was queued of it, a queued
 * message to reports on it), and the session's own lines, which name no transaction, are told beside them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/general_settings.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unique.h"
#include "ctl/tables.h"

enum { MAX_LOGS = 16, MAX_IDS = 100000, SLOTS = 1 << 18, ROUNDS = 8, MAX_PIPE = 1 << 30, MAX_LINES = 1000000, TIME_BYTES = 27 };

struct id_set {
	char (*at)[UNIQUE_LENGTH];
	size_t count;
};

struct log_text {
	struct slice text;
	struct buf read;          /* from standard input; else it is mapped */
};

struct trace {
	struct slice what;
	struct log_text logs[MAX_LOGS];
	size_t log_count;
	struct id_set ids, sessions;
	struct slice *lines;
	size_t line_count, line_room;
};

/* -- sets of ids ---------------------------------------------------------------------------------------------------------------------------- */

static size_t slot_of(const struct id_set *s, struct slice id)
{
	size_t h = 14695981039346656037u;
	for (size_t i = 0; i < UNIQUE_LENGTH; i++)
		h = (h ^ (unsigned char)id.p[i]) * 1099511628211u;
	for (h %= SLOTS; s->at[h][0] && memcmp(s->at[h], id.p, UNIQUE_LENGTH) != 0; h = (h + 1) % SLOTS)
		;
	return h;
}

static bool has(const struct id_set *s, struct slice id)
{
	return id.n == UNIQUE_LENGTH && s->at[slot_of(s, id)][0];
}

static void add(struct id_set *s, struct slice id)
{
	size_t h = slot_of(s, id);
	if (s->at[h][0] || s->count == MAX_IDS)
		return;
	memcpy(s->at[h], id.p, UNIQUE_LENGTH);
	s->count++;
}

/* -- lines ------------------------------------------------------------------------------------------------------------------------------------ */

/* The next id behind one of the names, in either form of a line; *rest goes on behind it. SLICE_NONE: no more. */
static struct slice next_id(struct slice *rest, const char *const *names)
{
	struct slice best = SLICE_NONE;
	for (size_t i = 0; names[i]; i++) {
		size_t at = slice_find_slice(*rest, slice_of(names[i]));
		struct slice id = slice_head(slice_skip(*rest, at + strlen(names[i])), UNIQUE_LENGTH);
		if (at < rest->n && id.n == UNIQUE_LENGTH && unique_time_us(id) && (!best.p || id.p < best.p))
			best = id;
	}
	*rest = best.p ? slice_skip(*rest, (size_t)(best.p - rest->p) + best.n) : SLICE_NONE;
	return best;
}

static const char *const id_names[] = { " id=", " transaction=", "queue=", " report=", "\"id\":\"", "\"transaction\":\"", "\"report\":\"", NULL };
static const char *const session_names[] = { " session=", "\"session\":\"", NULL };

static bool any_known(const struct id_set *s, struct slice line, const char *const *names)
{
	for (struct slice id = next_id(&line, names); id.p; id = next_id(&line, names))
		if (has(s, id))
			return true;
	return false;
}

static size_t add_all(struct id_set *s, struct slice line, const char *const *names)
{
	size_t n = 0;
	for (struct slice id = next_id(&line, names); id.p; id = next_id(&line, names), n++)
		add(s, id);
	return n;
}

static bool next_line(struct slice *rest, struct slice *line)
{
	if (!rest->n)
		return false;
	*line = slice_cut(*rest, '\n', rest);
	return true;
}

/* Where WHAT begins, text.n: nowhere. An address in any letters: by its @, since most bytes are none. */
static size_t find_what(const struct trace *t, struct slice text)
{
	size_t before = slice_find(t->what, '@');
	if (before == t->what.n)
		return slice_find_slice(text, t->what);
	for (size_t at = 0; (at += slice_find(slice_skip(text, at), '@')) < text.n; at++)
		if (at >= before && slice_starts_nocase(slice_skip(text, at - before), t->what))
			return at - before;
	return text.n;
}

/* What WHAT names directly: looked for in all of the text at once, since most lines are others'. */
static void seed(struct trace *t, struct slice text)
{
	for (size_t at = 0; at < text.n;) {
		struct slice behind = slice_skip(text, at);
		size_t found = find_what(t, behind);
		if (found == behind.n)
			return;
		size_t begin = at + found, end;
		while (begin && text.p[begin - 1] != '\n')
			begin--;
		end = at + found + slice_find(slice_skip(text, at + found), '\n');
		struct slice line = slice(text.p + begin, end - begin);
		if (!add_all(&t->ids, line, id_names))
			add_all(&t->sessions, line, session_names);
		at = end + 1;
	}
}

/* One round: ids of lines that hold a known one become known. */
static void spread(struct trace *t, struct slice text)
{
	struct slice line;
	while (next_line(&text, &line))
		if (any_known(&t->ids, line, id_names)) {
			add_all(&t->ids, line, id_names);
			add_all(&t->sessions, line, session_names);
		}
}

static bool belongs(const struct trace *t, struct slice line)
{
	struct slice rest = line;
	bool has_id = next_id(&rest, id_names).p != NULL;
	return any_known(&t->ids, line, id_names) || any_known(&t->sessions, line, id_names) || (!has_id && any_known(&t->sessions, line, session_names)) ||
	       find_what(t, line) < line.n;
}

static void collect(struct trace *t, struct slice text)
{
	struct slice line;
	while (next_line(&text, &line) && t->line_count < MAX_LINES) {
		if (!belongs(t, line))
			continue;
		if (t->line_count == t->line_room) {
			t->line_room = t->line_room ? t->line_room * 2 : 256;
			t->lines = mem_grow(t->lines, t->line_room, sizeof *t->lines);
		}
		t->lines[t->line_count++] = line;
	}
}

static struct slice time_of(struct slice line)
{
	return slice_head(slice_starts(line, SLICE("{\"time\":\"")) ? slice_skip(line, 9) : line, TIME_BYTES);
}

/* By time; processes write side by side. Lines of one time stay as they stood. */
static int by_time(const void *a, const void *b)
{
	const struct slice *one = a, *other = b;
	int order = slice_cmp(time_of(*one), time_of(*other));
	return order ? order : one->p < other->p ? -1 : one->p > other->p;
}

/* -- the command -------------------------------------------------------------------------------------------------------------------------------- */

static int open_log(struct trace *t, const char *path, bool must)
{
	struct log_text *l = &t->logs[t->log_count];
	struct stat st;
	int fd = -1, error;
	if (strcmp(path, "-") == 0) {
		error = ctl_read_file(path, MAX_PIPE, &l->read);
		l->text = buf_slice(&l->read);
		t->log_count += !error;
		return error ? ctl_fail(CTL_IO, "standard input: %s", strerror(-error)) : 0;
	}
	error = file_open(AT_FDCWD, path, O_RDONLY, 0, &fd);
	error = error ? error : file_stat_fd(fd, &st);
	if (!error && !S_ISREG(st.st_mode)) { /* what a shell's <( ) is; a folder can't be read */
		error = ctl_read_open(fd, MAX_PIPE, &l->read);
		l->text = error ? SLICE_NONE : buf_slice(&l->read);
	} else if (!error && st.st_size) {
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		error = p == MAP_FAILED ? -errno : 0;
		l->text = error ? SLICE_NONE : slice(p, (size_t)st.st_size);
	}
	file_close(&fd);
	if (error)
		buf_free(&l->read);
	t->log_count += !error;
	return error && must ? ctl_fail(CTL_NO_INPUT, "%s: %s", path, strerror(-error)) : 0;
}

static int open_logs(struct ctl *c, struct trace *t, int *argc, char **argv)
{
	const char *given;
	char path[4200];
	int code = 0;
	while (!code && t->log_count < MAX_LOGS && (given = ctl_value(argc, argv, "--log")))
		code = open_log(t, given, true);
	if (code || t->log_count)
		return code;
	if (!ctl_settings_to_ask(c))
		return CTL_CONFIG;
	if (!general_settings.log.n || general_settings.log.p[0] != '/')
		return ctl_fail(CTL_UNAVAILABLE, "the log goes to %.*s; name a file of it with --log FILE, or pipe it in (journalctl -u porter -o cat | porterctl trace --log - WHAT)",
		                SLICE_FMT(general_settings.log));
	snprintf(path, sizeof path, "%.*s.1", SLICE_FMT(general_settings.log)); /* what logrotate put away last */
	open_log(t, path, false);
	path[general_settings.log.n] = '\0';
	return open_log(t, path, true);
}

static void print_lines(const struct ctl *c, const struct trace *t)
{
	struct buf out = BUF_INIT(1 << 20);
	if (c->json)
		fputs("[", stdout);
	for (size_t i = 0; i < t->line_count; i++) {
		bool is_json = slice_starts(t->lines[i], SLICE("{"));
		buf_clear(&out);
		if (c->json && !is_json)
			text_add_json(&out, t->lines[i]);
		else
			buf_add(&out, t->lines[i]);
		buf_add_cstr(&out, c->json && i + 1 < t->line_count ? ",\n" : "\n");
		ctl_print(buf_slice(&out));
	}
	if (c->json)
		fputs("]\n", stdout);
	buf_free(&out);
}

static void follow(struct trace *t)
{
	size_t before = 0;
	for (size_t i = 0; i < t->log_count; i++)
		seed(t, t->logs[i].text);
	for (int round = 0; round < ROUNDS && t->ids.count != before; round++) {
		before = t->ids.count;
		for (size_t i = 0; i < t->log_count; i++)
			spread(t, t->logs[i].text);
	}
	for (size_t i = 0; i < t->log_count; i++)
		collect(t, t->logs[i].text);
	if (t->line_count)
		qsort(t->lines, t->line_count, sizeof *t->lines, by_time);
}

static void trace_free(struct trace *t)
{
	for (size_t i = 0; i < t->log_count; i++)
		buf_free(&t->logs[i].read);
	mem_free(t->ids.at);
	mem_free(t->sessions.at);
	mem_free(t->lines);
}

static int tell(struct ctl *c, struct trace *t)
{
	t->ids.at = mem_new_array(SLOTS, sizeof *t->ids.at);
	t->sessions.at = mem_new_array(SLOTS, sizeof *t->sessions.at);
	follow(t);
	print_lines(c, t);
	if (t->ids.count == MAX_IDS || t->line_count == MAX_LINES)
		ctl_fail(0, "there is more than this; look for something narrower");
	if (!t->line_count && !c->json)
		ctl_fail(0, "the log names no %.*s", SLICE_FMT(t->what));
	return t->line_count ? 0 : 1;
}

static int run_trace(struct ctl *c, int argc, char **argv)
{
	struct trace t = { .log_count = 0 };
	int code = open_logs(c, &t, &argc, argv);
	if (!code && (argc != 1 || !argv[0][0] || ctl_unknown_option(argc, argv)))
		code = ctl_fail(CTL_USAGE, "trace wants one thing to look for: an address, a Message-ID, an id of the log, a client's address");
	if (!code) {
		t.what = slice_of(argv[0]);
		code = tell(c, &t);
	}
	trace_free(&t);
	return code;
}

const struct ctl_command ctl_trace_commands[] = {
	{ "trace", "[--log FILE|-]... [--json] WHAT", "Tells the life of messages from the log, in time order, from the session to the last reply of the remote: WHAT is an address, a Message-ID, an id or a client.", run_trace },
	{ NULL, NULL, NULL, NULL }
};
