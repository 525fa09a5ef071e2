/* Reading text maps: lines, continuation lines, comments, keys, duplicates. */
#include "maps/map_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { MAX_LINE = 1 << 20, MANY = 10000, FEW = 1000 };

struct map_text {
	struct arena mem;
	struct map_entry *entries;
	uint64_t *heads;             /* of the sorted entries' keys: a search touches them alone until few are left */
	char *ordered;               /* keys and values of entries that were out of order, copied into their order */
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

/* The lines of one entry: a view into the file, or, once there is a continuation line, a joined copy. */
struct reader {
	struct map_text *text;
	map_key_reader key;
	void *arg;
	bool colon;            /* aliases(5): a colon behind the key */
	struct slice name;
	struct complaints *wrong;
	struct slice pending;  /* p NULL: none */
	struct buf joined;     /* pending is a view of it where continued */
	bool continued;
	struct arena scratch;  /* of one entry */
	uint32_t line;         /* of the entry's first line */
	bool bad;
};

size_t map_text_key_end(struct slice line, bool colon)
{
	bool quoted = false;
	for (size_t i = 0; i < line.n; i++) {
		char c = line.p[i];
		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && quoted)
			i++;
		else if (!quoted && (c == ' ' || c == '\t' || (c == ':' && colon)))
			return i;
	}
	return line.n;
}

static struct slice cut_key(bool colon, struct slice line, struct slice *value)
{
	size_t i = map_text_key_end(line, colon);
	struct slice rest = slice_skip(line, i);
	struct slice key = slice_trim(slice_head(line, i));
	if (colon) {
		rest = slice_trim(rest);
		if (!slice_starts(rest, SLICE(":include:")) && !slice_starts(rest, SLICE(":refuse:")) && !slice_starts(rest, SLICE(":defer:")))
			scan_byte(&rest, ':');
	}
	*value = slice_trim(rest);
	return key;
}

static void complain(struct reader *r, uint32_t line, const char *what, struct slice about)
{
	struct buf shown = BUF_INIT(200);
	r->bad = true;
	text_add_escaped(&shown, slice_head(about, 40));
	complaint_add(r->wrong, r->name, line, "%s: \"%.*s\"", what, SLICE_FMT(buf_slice(&shown)));
	buf_free(&shown);
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
		return numbered(r, r->continued ? arena_copy(&r->text->mem, line) : line);
	struct slice value, raw = cut_key(r->colon, line, &value), key;
	if (raw.n > MAP_MAX_KEY)
		return complain(r, r->line, "the key is longer than 1024 bytes", raw);
	const char *why = r->key(r->arg, raw, &r->scratch, &key);
	if (!why && key.n > MAP_MAX_KEY)
		why = "the key is longer than 1024 bytes";
	if (why)
		return complain(r, r->line, why, raw);
	if (r->continued)
		value = arena_copy(&r->text->mem, value);
	add(r->text, r->continued || key.p != raw.p ? arena_copy(&r->text->mem, key) : key, value, r->line);
	if (r->scratch.used)
		arena_reset(&r->scratch);
}

static void flush(struct reader *r)
{
	if (r->pending.p)
		entry(r, r->continued ? buf_slice(&r->joined) : r->pending);
	r->pending = SLICE_NONE;
	r->continued = false;
}

static bool is_text(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t')
			return false;
	return true;
}

static void continue_entry(struct reader *r, struct slice text, uint32_t number)
{
	if (!r->pending.p)
		return complain(r, number, "a continuation line (it begins with a blank) has nothing to continue", text);
	if (!r->continued) {
		buf_clear(&r->joined);
		buf_add(&r->joined, r->pending);
		r->continued = true;
	}
	buf_add(&r->joined, SLICE(" "));
	if (buf_add(&r->joined, text) < 0) {
		r->pending = SLICE_NONE;
		r->continued = false;
		complain(r, number, "the entry is longer than 1 MiB", text);
	}
}

size_t map_text_comment(struct slice line)
{
	bool quoted = false;
	if (slice_find(line, '#') == line.n)
		return line.n;
	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] == '"')
			quoted = !quoted;
		else if (line.p[i] == '\\' && quoted)
			i++;
		else if (line.p[i] == '#' && !quoted && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			return i;
	}
	return line.n;
}

static void one_line(struct reader *r, struct slice line, uint32_t number)
{
	if (line.n > MAX_LINE)
		return complain(r, number, "the line is longer than 1 MiB", line);
	if (!is_text(line))
		return complain(r, number, "control bytes: this is no text", line);
	struct slice text = slice_trim(slice_head(line, map_text_comment(line)));
	if (!text.n)
		return;
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return continue_entry(r, text, number);
	flush(r);
	r->line = number;
	r->pending = text;
}

static int by_key(const void *left, const void *right)
{
	const struct map_entry *l = left, *r = right;
	int order = slice_cmp(l->key, r->key);
	return order ? order : l->line < r->line ? -1 : l->line > r->line;
}

static size_t sorted_front(const struct map_text *t)
{
	size_t i = 1;
	while (i < t->count && by_key(&t->entries[i - 1], &t->entries[i]) <= 0)
		i++;
	return t->count ? i : 0;
}

/* A few notes behind many sorted entries: merged from the end. */
static void merge_back(struct map_text *t, size_t front)
{
	size_t few = t->count - front, i = front, j = few;
	struct map_entry *back = mem_new_array(few, sizeof *back);
	memcpy(back, t->entries + front, few * sizeof *back);
	qsort(back, few, sizeof *back, by_key);
	for (size_t to = t->count; j > 0;)
		t->entries[--to] = i > 0 && by_key(&t->entries[i - 1], &back[j - 1]) > 0 ? t->entries[--i] : back[--j];
	mem_free(back);
}

/* The first eight bytes of a key, of which most differ; keys that don't are sorted by the whole. */
struct head {
	uint64_t bytes;
	uint32_t at;
};

static uint64_t head_of(struct slice key)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < 8; i++)
		bytes = bytes << 8 | (i < key.n ? (unsigned char)key.p[i] : 0);
	return bytes;
}

/* By one byte of the heads, stable. False: they all have the same, nothing was moved. */
static bool sort_by_byte(const struct head *from, struct head *to, size_t n, unsigned shift)
{
	size_t starts[256] = { 0 }, sum = 0;
	for (size_t i = 0; i < n; i++)
		starts[from[i].bytes >> shift & 0xff]++;
	if (starts[from[0].bytes >> shift & 0xff] == n)
		return false;
	for (size_t i = 0; i < 256; i++) {
		size_t count = starts[i];
		starts[i] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++)
		to[starts[from[i].bytes >> shift & 0xff]++] = from[i];
	return true;
}

static void sort_heads(struct map_text *t)
{
	struct head *heads = mem_new_array(t->count, sizeof *heads), *other = mem_new_array(t->count, sizeof *other);
	struct map_entry *sorted = mem_new_array(t->room, sizeof *sorted);
	for (size_t i = 0; i < t->count; i++)
		heads[i] = (struct head){ head_of(t->entries[i].key), (uint32_t)i };
	for (unsigned shift = 0; shift < 64; shift += 8)
		if (sort_by_byte(heads, other, t->count, shift)) {
			struct head *moved = other;
			other = heads;
			heads = moved;
		}
	for (size_t i = 0; i < t->count; i++)
		sorted[i] = t->entries[heads[i].at];
	for (size_t from = 0, to; from < t->count; from = to) {
		for (to = from + 1; to < t->count && heads[to].bytes == heads[from].bytes;)
			to++;
		if (to - from > 1)
			qsort(sorted + from, to - from, sizeof *sorted, by_key);
	}
	mem_free(heads);
	mem_free(other);
	mem_free(t->entries);
	t->entries = sorted;
}

/* Every later walk in the order of keys would miss the cache at each entry: it is paid once. */
static void copy_in_order(struct map_text *t)
{
	size_t size = 1;
	for (size_t i = 0; i < t->count; i++)
		size += t->entries[i].key.n + t->entries[i].value.n;
	char *block = mem_new(size), *to = block;
	for (size_t i = 0; i < t->count; i++) {
		struct slice *parts[] = { &t->entries[i].key, &t->entries[i].value };
		for (size_t k = 0; k < 2; k++) {
			if (parts[k]->n)
				memcpy(to, parts[k]->p, parts[k]->n);
			parts[k]->p = to;
			to += parts[k]->n;
		}
	}
	mem_free(t->ordered);
	t->ordered = block;
}

void map_text_sort(struct map_text *t)
{
	size_t front = sorted_front(t);
	if (t->count - front > FEW) {
		sort_heads(t);
		if (t->count > MANY)
			copy_in_order(t);
	} else if (front < t->count) {
		merge_back(t, front);
	}
	mem_free(t->heads);
	t->heads = mem_new_array(t->count + 1, sizeof *t->heads);
	for (size_t i = 0; i < t->count; i++)
		t->heads[i] = head_of(t->entries[i].key);
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

bool map_text_read_part(struct slice file, struct slice name, map_key_reader key, void *arg, bool colon, struct complaints *wrong, struct map_text **out)
{
	struct map_text *t = MEM_NEW(struct map_text);
	t->mem = (struct arena)ARENA_INIT(0);     /* bounded by the file */
	struct reader r = { .text = t, .key = key, .arg = arg, .colon = colon, .name = name, .wrong = wrong, .joined = BUF_INIT(MAX_LINE),
		            .scratch = ARENA_INIT(1 << 20) };
	struct slice line;
	uint32_t number = 0;
	if (slice_find(slice_head(file, 4096), '\0') < slice_head(file, 4096).n) {
		complaint_add(wrong, name, 1, "this is a binary file, not a text map");
		r.bad = true;
		file.n = 0;
	}
	if (slice_starts(file, SLICE("\xef\xbb\xbf"))) /* an editor's byte order mark */
		file = slice_skip(file, 3);
	while (scan_line(&file, &line))
		one_line(&r, line, ++number);
	flush(&r);
	buf_free(&r.joined);
	arena_free(&r.scratch);
	map_text_sort(t);
	refuse_duplicates(&r);
	*out = t;
	return !r.bad;
}

bool map_text_read(struct slice file, struct slice name, map_key_reader key, void *arg, bool colon, struct complaints *wrong, struct map_text **out)
{
	struct map_text *t;
	if (!map_text_read_part(file, name, key, arg, colon, wrong, &t)) {
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
	mem_free(t->heads);
	mem_free(t->ordered);
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

/* The first of from..to whose head is not below this one. */
static size_t first_head(const struct map_text *t, uint64_t head, size_t from, size_t to)
{
	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (t->heads[middle] < head)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

const struct map_entry *map_text_find(const struct map_text *t, struct slice key)
{
	size_t low, high, all = t->count;
	uint64_t head = head_of(key);
	low = first_head(t, head, 0, all);
	high = head == UINT64_MAX ? all : first_head(t, head + 1, low, all);
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
