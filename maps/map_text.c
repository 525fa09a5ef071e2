/* Reading text maps: lines, continuation lines, comments, keys, duplicates. */
#include "maps/map_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_LINE = 1 << 20 };

struct map_text {
	struct arena mem;
	struct map_entry *entries;
	size_t count, room;
};

static void add(struct map_text *t, struct slice key, struct slice value, uint32_t line)
{
	if (t->count == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->entries = mem_grow(t->entries, t->room, sizeof *t->entries);
	}
	t->entries[t->count++] = (struct map_entry){ key, value, line };
}

/* The key ends at the first blank outside of quotes; aliases(5) writes a colon behind it. */
static struct slice cut_key(struct slice line, struct slice *value)
{
	bool quoted = false;
	size_t i = 0;
	for (; i < line.n; i++) {
		char c = line.p[i];
		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && quoted)
			i++;
		else if (!quoted && (c == ' ' || c == '\t'))
			break;
	}
	if (i > line.n)
		i = line.n;
	*value = slice_trim(slice_skip(line, i));
	return slice_head(line, i);
}

/* Joined lines are copied; a line that stands alone is a view into the file. */
struct reader {
	struct map_text *text;
	struct slice name;
	map_key_reader key;
	void *arg;
	struct complaints *wrong;
	struct buf joined;
	struct arena scratch; /* of one key */
	uint32_t line;        /* of the entry's first line */
	bool bad;
};

static void complain(struct reader *r, uint32_t line, const char *what, struct slice about)
{
	struct buf shown = BUF_INIT(200);
	text_add_escaped(&shown, slice_head(about, 40));
	complaint_add(r->wrong, r->name, line, "%s: \"%.*s\"", what, SLICE_FMT(buf_slice(&shown)));
	buf_free(&shown);
	r->bad = true;
}

static void numbered(struct reader *r, struct slice line)
{
	char number[16];
	int n = snprintf(number, sizeof number, "%08u", r->line);
	add(r->text, arena_copy(&r->text->mem, slice(number, (size_t)n)), line, r->line);
}

static void entry(struct reader *r, struct slice line)
{
	if (!r->key)
		return numbered(r, line);
	struct slice value, raw = cut_key(line, &value), key;
	if (raw.n > MAP_MAX_KEY)
		return complain(r, r->line, "the key is longer than 1024 bytes", raw);
	if (raw.n > 1 && raw.p[raw.n - 1] == ':')
		raw.n--;
	const char *why = r->key(r->arg, raw, &r->scratch, &key);
	if (why)
		return complain(r, r->line, why, raw);
	add(r->text, slice_eq(key, raw) ? raw : arena_copy(&r->text->mem, key), value, r->line);
	arena_reset(&r->scratch);
}

static void flush(struct reader *r)
{
	if (!r->joined.n)
		return;
	struct slice line = arena_copy(&r->text->mem, buf_slice(&r->joined));
	buf_clear(&r->joined);
	entry(r, line);
}

static bool is_text(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t')
			return false;
	return true;
}

static void one_line(struct reader *r, struct slice line, uint32_t number)
{
	if (line.n > MAX_LINE)
		return complain(r, number, "the line is longer than 1 MiB", line);
	if (!is_text(line))
		return complain(r, number, "control bytes: this is no text", line);
	struct slice text = slice_trim(line);
	if (!text.n || text.p[0] == '#')
		return;
	if (line.p[0] == ' ' || line.p[0] == '\t') {
		if (!r->joined.n)
			return complain(r, number, "a continuation line (it begins with a blank) has nothing to continue", text);
		buf_add(&r->joined, SLICE(" "));
		if (buf_add(&r->joined, text) < 0) {
			buf_clear(&r->joined);
			complain(r, number, "the entry is longer than 1 MiB", text);
		}
		return;
	}
	flush(r);
	r->line = number;
	buf_add(&r->joined, text);
}

static int by_key(const void *left, const void *right)
{
	const struct map_entry *l = left, *r = right;
	int order = slice_cmp(l->key, r->key);
	return order ? order : l->line < r->line ? -1 : l->line > r->line;
}

static bool is_sorted(const struct map_text *t)
{
	for (size_t i = 1; i < t->count; i++)
		if (by_key(&t->entries[i - 1], &t->entries[i]) > 0)
			return false;
	return true;
}

void map_text_sort(struct map_text *t)
{
	if (t->count > 1 && !is_sorted(t))
		qsort(t->entries, t->count, sizeof *t->entries, by_key);
}

static void refuse_duplicates(struct reader *r)
{
	const struct map_text *t = r->text;
	for (size_t i = 1; i < t->count; i++) {
		const struct map_entry *a = &t->entries[i - 1], *b = &t->entries[i];
		if (!slice_eq(a->key, b->key))
			continue;
		struct buf shown = BUF_INIT(400);
		text_add_escaped(&shown, slice_head(b->key, 80));
		complaint_add(r->wrong, r->name, b->line, "\"%.*s\" stands already in line %u", SLICE_FMT(buf_slice(&shown)), a->line);
		buf_free(&shown);
		r->bad = true;
	}
}

bool map_text_read(struct slice file, struct slice name, map_key_reader key, void *arg, struct complaints *wrong, struct map_text **out)
{
	struct map_text *t = MEM_NEW(struct map_text);
	t->mem = (struct arena)ARENA_INIT(0);     /* bounded by the file */
	struct reader r = { .text = t, .name = name, .key = key, .arg = arg, .wrong = wrong, .joined = BUF_INIT(MAX_LINE), .scratch = ARENA_INIT(1 << 20) };
	struct slice line;
	uint32_t number = 0;
	if (file.n && slice_find(slice_head(file, 4096), '\0') < (file.n < 4096 ? file.n : 4096)) {
		complaint_add(wrong, name, 1, "this is a binary file, not a text map");
		r.bad = true;
		file.n = 0;
	}
	while (scan_line(&file, &line))
		one_line(&r, line, ++number);
	flush(&r);
	buf_free(&r.joined);
	arena_free(&r.scratch);
	map_text_sort(t);
	refuse_duplicates(&r);
	if (r.bad) {
		map_text_free(t);
		return false;
	}
	*out = t;
	return true;
}

void map_text_free(struct map_text *t)
{
	if (!t)
		return;
	mem_free(t->entries);
	arena_free(&t->mem);
	mem_free(t);
}

void map_text_note(struct map_text *t, struct slice key, struct slice value, uint32_t line)
{
	add(t, arena_copy(&t->mem, key), arena_copy(&t->mem, value), line);
}

void map_text_set_value(struct map_text *t, size_t i, struct slice value)
{
	t->entries[i].value = arena_copy(&t->mem, value);
}

const struct map_entry *map_text_find(const struct map_text *t, struct slice key)
{
	size_t low = 0, high = t->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = slice_cmp(t->entries[middle].key, key);
		if (order == 0)
			return &t->entries[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct map_entry *map_text_at(const struct map_text *t, size_t i)
{
	return &t->entries[i];
}

size_t map_text_count(const struct map_text *t)
{
	return t->count;
}
