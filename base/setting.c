/* Settings: porter.conf against the rooms' tables. The parser of each type stands in one table; all errors of a file are told at once. */
#include "base/setting.h"

#include <errno.h>
#include <stdarg.h>

#include "base/scan.h"
#include "base/text.h"

enum { SHOWN = 50, COMPLAINTS_MAX = 64 << 10, SETTINGS_MAX = 1024 };

/* -- complaints --------------------------------------------------------------------------------------------------------------- */

/* Of "file:line: text". */
struct spot {
	struct slice file;
	uint64_t line;
};

static struct spot spot_of(struct slice text)
{
	struct slice head = slice_head(text, slice_find_slice(text, SLICE(": ")));
	size_t colon = slice_rfind(head, ':');
	struct spot s = { slice_head(head, colon), 0 };
	if (colon >= head.n || !scan_uint_all(slice_skip(head, colon + 1), UINT64_MAX, &s.line))
		s = (struct spot){ head, 0 };
	return s;
}

static bool comes_before(struct spot a, struct spot b)
{
	int order = slice_cmp(a.file, b.file);
	return order < 0 || (order == 0 && a.line < b.line);
}

/* Where the last line begins. */
static size_t last_line(const struct buf *b)
{
	size_t newline = b->n ? slice_rfind(slice(b->p, b->n - 1), '\n') : 0;
	return b->n && newline < b->n - 1 ? newline + 1 : 0;
}

/* The text stays sorted; what was found later in the same line of a file stands later. */
static void insert(struct buf *b, struct slice line)
{
	size_t count = 0, at = b->n, before = b->n;
	struct spot new = spot_of(line);
	for (struct slice rest = buf_slice(b); rest.n; count++) {
		size_t here = b->n - rest.n;
		if (at == b->n && comes_before(new, spot_of(slice_cut(rest, '\n', &rest))))
			at = here;
		else if (at < b->n)
			slice_cut(rest, '\n', &rest);
	}
	if (count == SHOWN && at == b->n)
		return;
	if (count == SHOWN)
		buf_truncate(b, before = last_line(b));
	struct buf tail = BUF_INIT(b->max);
	if (before > at)
		buf_add(&tail, slice(b->p + at, before - at));
	buf_truncate(b, at);
	buf_add(b, line);
	buf_add(b, buf_slice(&tail));
	buf_free(&tail);
}

static bool is_past_the_shown(const struct complaints *c, struct spot s)
{
	return c->count > SHOWN && c->text.n && !comes_before(s, spot_of(slice(c->text.p + last_line(&c->text), c->text.n - last_line(&c->text))));
}

void complaint_add(struct complaints *c, struct slice file, size_t line, const char *format, ...)
{
	va_list args;
	struct buf text = BUF_INIT(COMPLAINTS_MAX);
	c->count++;
	if (is_past_the_shown(c, (struct spot){ file, line }))
		return;
	if (c->text.max == 0)
		buf_init(&c->text, COMPLAINTS_MAX);
	buf_addf(&text, "%.*s:%zu: ", SLICE_FMT(file), line);
	va_start(args, format);
	buf_addv(&text, format, args);
	va_end(args);
	buf_add_byte(&text, '\n');
	insert(&c->text, buf_slice(&text));
	buf_free(&text);
}

void complaint_join(struct complaints *c, const struct complaints *more)
{
	if (c->text.max == 0)
		buf_init(&c->text, COMPLAINTS_MAX);
	c->count += more->count;
	for (struct slice rest = buf_slice(&more->text); rest.n;) {
		struct slice line = slice_cut(rest, '\n', &rest);
		insert(&c->text, slice(line.p, line.n + 1));
	}
}

void complaint_free(struct complaints *c)
{
	buf_free(&c->text);
	*c = (struct complaints){ 0 };
}

/* -- one value ---------------------------------------------------------------------------------------------------------------- */

struct place {
	void *target;
	struct slice directory;
	struct arena *mem;
};

static const char *read_bool(const struct setting *s, struct slice v, const struct place *to)
{
	(void)s;
	if (!slice_eq(v, SLICE("yes")) && !slice_eq(v, SLICE("no")))
		return "wants yes or no";
	*(bool *)to->target = v.p[0] == 'y';
	return NULL;
}

static const char out_of_range[] = "is out of its range";

static const char *read_number(const struct setting *s, struct slice v, const struct place *to)
{
	uint64_t n;
	bool good = s->type == SETTING_UINT ? scan_uint_all(v, UINT64_MAX, &n)
	            : s->type == SETTING_SIZE ? scan_size_all(v, UINT64_MAX, &n) : scan_span_all(v, UINT64_MAX, &n);
	if (!good)
		return s->type == SETTING_UINT ? "wants a number" : s->type == SETTING_SIZE ? "wants a size like 64k, 10M, 2G" : "wants a time like 30s, 5m, 4h, 5d";
	if (n < s->min || n > s->max)
		return out_of_range;
	*(uint64_t *)to->target = n;
	return NULL;
}

static const char *store(struct slice v, const struct place *to)
{
	*(struct slice *)to->target = arena_copy(to->mem, v);
	return NULL;
}

static const char *read_text(const struct setting *s, struct slice v, const struct place *to)
{
	(void)s;
	return store(v, to);
}

static const char *read_word(const struct setting *s, struct slice v, const struct place *to)
{
	for (struct slice rest = slice_of(s->words); rest.p;)
		if (slice_eq(slice_cut(rest, ' ', &rest), v))
			return store(v, to);
	return "is none of its words";
}

static bool is_host_name(struct slice v)
{
	size_t label = 0;
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (c == '.' ? label == 0 || v.p[i - 1] == '-' : !(text_is_alnum(c) || (c == '-' && label)) || label == 63)
			return false;
		label = c == '.' ? 0 : label + 1;
	}
	return v.n > 0 && v.n <= 253 && label > 0 && v.p[v.n - 1] != '-';
}

static const char *read_domain(const struct setting *s, struct slice v, const struct place *to)
{
	(void)s;
	if (v.n && !is_host_name(v))
		return "wants a host name";
	*(struct slice *)to->target = text_lower(to->mem, v);
	return NULL;
}

/* "../mail" and "./x" at the front are resolved here, so that logs and messages show a clean path. */
static const char *read_path(const struct setting *s, struct slice v, const struct place *to)
{
	(void)s;
	if (memchr(v.p, 0, v.n))
		return "holds a NUL";
	if (v.n == 0 || v.p[0] == '/')
		return store(v, to);
	struct slice base = to->directory;
	while (base.n > 1 && base.p[base.n - 1] == '/')
		base.n--;
	while (slice_starts(v, SLICE("../")) && slice_rfind(base, '/') < base.n) {
		v = slice_skip(v, 3);
		base = slice_head(base, slice_rfind(base, '/'));
	}
	struct buf path = BUF_INIT(4096);
	buf_add(&path, base);
	buf_add_byte(&path, '/');
	buf_add(&path, v);
	const char *wrong = buf_full(&path) ? "is too long" : store(buf_slice(&path), to);
	buf_free(&path);
	return wrong;
}

static const char *read_value(const struct setting *s, struct slice v, const struct place *to)
{
	static const char *(*const readers[])(const struct setting *, struct slice, const struct place *) = {
		[SETTING_BOOL] = read_bool, [SETTING_UINT] = read_number, [SETTING_SIZE] = read_number,     [SETTING_SPAN] = read_number,
		[SETTING_TEXT] = read_text, [SETTING_WORD] = read_word,   [SETTING_DOMAIN] = read_domain, [SETTING_PATH] = read_path,
		[SETTING_LIST] = read_text,
	};
	const char *wrong = readers[s->type](s, v, to);
	return wrong || !s->check ? wrong : s->check(v);
}

/* -- the file ------------------------------------------------------------------------------------------------------------------- */

struct reading {
	struct setting_table *const *tables;
	size_t count;
	struct slice file, directory;
	struct arena *mem;
	struct complaints *wrong;
	bool some;                    /* unknown names are somebody else's */
	size_t seen_at[SETTINGS_MAX]; /* the line that set it, by number over all tables */
};

static const struct setting *find(const struct reading *r, struct slice name, struct setting_table **table, size_t *number)
{
	size_t before = 0;
	for (size_t t = 0; t < r->count; before += r->tables[t++]->count)
		for (size_t i = 0; i < r->tables[t]->count; i++)
			if (slice_eq(slice_of(r->tables[t]->rows[i].name), name)) {
				*table = r->tables[t];
				*number = before + i;
				return &r->tables[t]->rows[i];
			}
	return NULL;
}

static const char *set(const struct reading *r, const struct setting *s, struct setting_table *table, struct slice value)
{
	struct place to = { (char *)table->target + s->offset, r->directory, r->mem };
	return read_value(s, value, &to);
}

/* '#' at the start or behind a blank begins a comment. */
static struct slice without_comment(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] == '#' && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			return slice_head(line, i);
	return line;
}

static void complain_of_name(struct reading *r, struct slice name, size_t at)
{
	struct buf shown = BUF_INIT(400);
	text_add_escaped(&shown, slice_head(name, 80));
	complaint_add(r->wrong, r->file, at, "there is no setting %.*s", SLICE_FMT(buf_slice(&shown)));
	buf_free(&shown);
}

static void complain_of_value(struct reading *r, const struct setting *s, const char *wrong, size_t at)
{
	const char *unit = s->type == SETTING_SPAN ? " seconds" : s->type == SETTING_SIZE ? " bytes" : "";
	if (s->type == SETTING_WORD)
		complaint_add(r->wrong, r->file, at, "%s %s (%s)", s->name, wrong, s->words);
	else if (wrong == out_of_range)
		complaint_add(r->wrong, r->file, at, "%s %s, %llu to %llu%s", s->name, wrong, (unsigned long long)s->min, (unsigned long long)s->max, unit);
	else
		complaint_add(r->wrong, r->file, at, "%s %s", s->name, wrong);
}

static void read_line(struct reading *r, struct slice line, size_t at)
{
	line = slice_trim(without_comment(line));
	if (line.n == 0)
		return;
	size_t end = 0, number;
	while (end < line.n && line.p[end] != ' ' && line.p[end] != '\t')
		end++;
	struct slice name = slice_head(line, end), value = slice_trim(slice_skip(line, end));
	struct setting_table *table;
	const struct setting *s = find(r, name, &table, &number);
	if (!s && r->some)
		return;
	if (!s) {
		complain_of_name(r, name, at);
		return;
	}
	if (r->seen_at[number]) {
		complaint_add(r->wrong, r->file, at, "%s stands in line %zu already", s->name, r->seen_at[number]);
		return;
	}
	r->seen_at[number] = at;
	const char *wrong = set(r, s, table, value);
	if (wrong)
		complain_of_value(r, s, wrong, at);
}

static int read_all(struct reading *r, struct slice text)
{
	struct setting_table *const *tables = r->tables;
	struct complaints *wrong = r->wrong;
	size_t before = wrong->count, at = 0, all = 0, count = r->count;
	struct slice line;
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < tables[t]->count; i++) {
			const struct setting *s = &tables[t]->rows[i];
			const char *bad = ++all > SETTINGS_MAX ? "is one too many" : set(r, s, tables[t], slice_of(s->preset));
			if (bad)
				complaint_add(wrong, SLICE("(defaults)"), 0, "%s %s", s->name, bad);
		}
	while (scan_line(&text, &line))
		read_line(r, line, ++at);
	return wrong->count > before ? -EINVAL : 0;
}

int setting_read(struct slice text, struct slice file, struct slice directory, struct setting_table *const *tables, size_t count,
                 struct arena *mem, struct complaints *wrong)
{
	struct reading r = { tables, count, file, directory, mem, wrong, false, { 0 } };
	return read_all(&r, text);
}

int setting_read_some(struct slice text, struct slice file, struct slice directory, struct setting_table *const *tables, size_t count,
                      struct arena *mem, struct complaints *wrong)
{
	struct reading r = { tables, count, file, directory, mem, wrong, true, { 0 } };
	return read_all(&r, text);
}
