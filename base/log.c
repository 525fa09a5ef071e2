/* One event, one line, one write. Lines are put together in a buffer of the thread's own and written whole, so that lines of
 * several processes on one descriptor never mix (up to PIPE_BUF). */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log_syslog.h"
#include "base/text.h"

enum { LINE_MAX_BYTES = 4000, FIELDS_MAX = 32, VALUE_LONG = 1000, VALUE_SHORT = 150 /* of a value that is cut, before what is odd in it is escaped */ };

static struct {
	int fd;
	enum log_form form;
	enum log_level most;
	const char *process;
} to = { STDERR_FILENO, LOG_FORM_TEXT, LOG_INFO, "porter" };

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *const form_names[] = { "text", "json", "syslog", "syslog-json" };

static bool is_syslog(void)
{
	return to.form == LOG_FORM_SYSLOG || to.form == LOG_FORM_SYSLOG_JSON;
}

static bool is_json(void)
{
	return to.form == LOG_FORM_JSON || to.form == LOG_FORM_SYSLOG_JSON;
}

void log_open(int fd, enum log_form form, const char *process)
{
	to.fd = fd;
	to.form = form;
	to.process = process;
	if (is_syslog())
		log_syslog_begin();
}

const char *log_form_name(void)
{
	return form_names[to.form];
}

bool log_form_parse(struct slice name, enum log_form *out)
{
	for (int i = 0; i <= LOG_FORM_SYSLOG_JSON; i++)
		if (slice_eq(name, slice_of(form_names[i]))) {
			*out = (enum log_form)i;
			return true;
		}
	return false;
}

void log_set_level(enum log_level most)
{
	to.most = most;
}

enum log_level log_get_level(void)
{
	return to.most;
}

bool log_level_parse(struct slice name, enum log_level *out)
{
	for (int i = 0; i <= LOG_DEBUG; i++)
		if (slice_eq(name, slice_of(level_names[i]))) {
			*out = (enum log_level)i;
			return true;
		}
	return false;
}

/* A value needs quotes when a reader that splits at blanks and '=' would misread it. */
static bool is_plain(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
			return false;
	}
	return s.n > 0;
}

static void add_text_value(struct buf *line, struct slice s)
{
	if (is_plain(s)) {
		buf_add(line, s);
		return;
	}
	buf_add_byte(line, '"');
	text_add_escaped(line, s);
	buf_add_byte(line, '"');
}

static void add_field(struct buf *line, const struct log_field *f, bool json)
{
	struct slice text = f->kind == LOG_KIND_ERRNO ? slice_of(strerror(f->number > INT32_MAX ? (int)-(int64_t)f->number : (int)f->number)) : f->str;
	if (f->kind != LOG_KIND_UINT && text.n == 0)
		return;
	buf_addf(line, json ? ",\"%s\":" : " %s=", f->key);
	if (f->kind == LOG_KIND_UINT)
		buf_add_uint(line, f->number);
	else if (json)
		text_add_json(line, text);
	else
		add_text_value(line, text);
}

/* 2026-11-24T12:00:00.123456Z */
static void add_time(struct buf *line)
{
	int64_t us = clock_wall_us();
	time_t s = us / 1000000;
	struct tm tm;
	char text[32];
	gmtime_r(&s, &tm);
	size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	buf_add(line, slice(text, n));
	buf_addf(line, ".%06dZ", (int)(us % 1000000));
}

static void add_front(struct buf *line, enum log_level level, const char *word, bool json)
{
	if (is_syslog())
		log_syslog_front(line, level);
	if (to.form == LOG_FORM_SYSLOG) {
		buf_addf(line, "%s process=%s", word, to.process);
		return;
	}
	buf_add_cstr(line, json ? "{\"time\":\"" : "");
	add_time(line);
	buf_addf(line, json ? "\",\"level\":\"%s\",\"event\":\"%s\",\"process\":\"%s\"" : " %s %s process=%s", level_names[level], word, to.process);
}

static pthread_key_t line_key;
static pthread_once_t line_once = PTHREAD_ONCE_INIT;

static void free_line(void *line)
{
	buf_free(line);
}

static void make_line_key(void)
{
	pthread_key_create(&line_key, free_line);
}

/* Each thread writes its lines in a buffer of its own, which goes when the thread ends. */
static struct buf *line_of_thread(void)
{
	static _Thread_local struct buf line = BUF_INIT(LINE_MAX_BYTES);
	static _Thread_local bool known;
	if (!known) {
		pthread_once(&line_once, make_line_key);
		pthread_setspecific(line_key, &line);
		known = true;
	}
	buf_clear(&line);
	return &line;
}

/* The first `most` bytes of a value, no character torn, and a sign that there was more. */
static bool add_cut(struct buf *line, const struct log_field *f, size_t most, bool json)
{
	size_t mark = line->n;
	char head[VALUE_LONG + 3];
	struct log_field cut = *f;
	if (f->kind == LOG_KIND_STR && f->str.n > most) {
		while (most && ((unsigned char)f->str.p[most] & 0xc0) == 0x80)
			most--;
		memcpy(mempcpy(head, f->str.p, most), "...", 3);
		cut.str = slice(head, most + 3);
	}
	add_field(line, &cut, json);
	if (!buf_full(line))
		return true;
	buf_truncate(line, mark);
	line->full = false;
	return false;
}

/* Who may choose a value, however long, hides no other one behind it; one for which there is no room at all is left out, and the line stays well-formed. */
static void add_fields(struct buf *line, const struct log_field *fields, bool json)
{
	for (const struct log_field *f = fields; f->kind != LOG_KIND_END; f++)
		if (!add_cut(line, f, VALUE_LONG, json))
			add_cut(line, f, VALUE_SHORT, json);
}

void log_fields(enum log_level level, const char *word, const struct log_field *fields)
{
	int before = errno;
	if (level > to.most)
		return;
	bool json = is_json();
	struct buf *line = line_of_thread();
	add_front(line, level, word, json);
	add_fields(line, fields, json);
	line->max = LINE_MAX_BYTES + 2; /* the end of the line always fits */
	buf_add_cstr(line, json ? "}\n" : "\n");
	line->max = LINE_MAX_BYTES;
	ssize_t n = write(to.fd, line->p, is_syslog() ? line->n - 1 : line->n);
	(void)n; /* nobody is left to be told */
	errno = before;
}

void log_event(enum log_level level, const char *word, ...)
{
	struct log_field fields[FIELDS_MAX + 1];
	va_list args;
	int n = 0;
	if (level > to.most)
		return;
	va_start(args, word);
	do
		fields[n] = va_arg(args, struct log_field);
	while (fields[n].kind != LOG_KIND_END && ++n < FIELDS_MAX);
	va_end(args);
	fields[n] = LOG_END;
	log_fields(level, word, fields);
}
