/* Rolls: their record form, and their files. */
#include "queue/roll.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/field.h"
#include "base/file.h"
#include "queue/record.h"
#include "queue/spool_inside.h"

enum { TAG_ENTRY = 1, TAG_GROUP, HEAD = 32, MAX_ENTRY = 1 << 20, MAX_MEMORY = 256 << 20, MAX_PLACE = 32768, MAX_SENDER = 2048 };
static const char magic[8] = "PorterR\2";

#define ROW(tag, kind, member) RECORD_ROW(tag, kind, roll_entry, member)

static const struct record_row entry_rows[] = {
	RECORD_ROW_MAX(16, RECORD_BYTES, roll_entry, taken.id, SPOOL_ID_MAX), ROW(17, RECORD_UINT64, mark.inode),
	ROW(18, RECORD_UINT64, mark.size), ROW(19, RECORD_INT64, mark.changed_s), ROW(20, RECORD_UINT32, mark.changed_ns),
	RECORD_ROW_MAX(21, RECORD_BYTES, roll_entry, taken.sender, MAX_SENDER), ROW(22, RECORD_INT8, taken.priority),
	ROW(23, RECORD_FLAG, taken.held), ROW(24, RECORD_FLAG, taken.wants_settling), ROW(25, RECORD_INT64, taken.look_s),
};

static const struct record_row group_rows[] = {
	RECORD_ROW_MAX(16, RECORD_BYTES, taken_group, place, MAX_PLACE), RECORD_ROW(17, RECORD_UINT32, taken_group, recipients),
	RECORD_ROW_MAX(18, RECORD_UINT8, taken_group, attempts, 255), RECORD_ROW(19, RECORD_INT64, taken_group, next_s),
};

bool roll_mark_of(struct spool *s, const struct stat *st, struct roll_mark *out)
{
	if (!S_ISREG(st->st_mode) || st->st_uid != s->owner)
		return false;
	*out = (struct roll_mark){ st->st_ino, (uint64_t)st->st_size, st->st_ctim.tv_sec, (uint32_t)st->st_ctim.tv_nsec };
	return true;
}

/* -- writing ------------------------------------------------------------------------------------------------------------------------- */

static void put_u64(char *to, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		to[i] = (char)v;
}

static uint64_t get_u64(const char *from)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | (unsigned char)from[i];
	return v;
}

void roll_begin(struct buf *out)
{
	char head[HEAD] = "";
	buf_clear(out);
	memcpy(head, magic, sizeof magic);
	buf_add(out, slice(head, HEAD));
}

int roll_add(struct buf *out, const struct roll_entry *e)
{
	struct buf one = BUF_INIT(MAX_ENTRY);
	int error = record_put(&one, RECORD_TABLE(entry_rows), e);
	for (size_t i = 0; i < e->taken.group_count && !error; i++)
		error = record_put_nested(&one, TAG_GROUP, RECORD_TABLE(group_rows), &e->taken.groups[i]);
	error = error ? error : field_add(out, TAG_ENTRY, buf_slice(&one));
	buf_free(&one);
	if (!error)
		put_u64(out->p + 8, get_u64(out->p + 8) + 1);
	return error;
}

uint64_t roll_end(struct buf *out)
{
	uint64_t check = journal_checksum(slice_skip(buf_slice(out), HEAD));
	put_u64(out->p + 16, out->n - HEAD);
	put_u64(out->p + 24, check);
	return check;
}

/* -- reading ------------------------------------------------------------------------------------------------------------------------- */

static bool get_groups(struct slice in, struct arena *mem, struct taken *t)
{
	size_t count = record_count(in, TAG_GROUP, ENVELOPE_MAX_RECIPIENTS);
	struct slice value;
	uint8_t tag;
	if (count == SIZE_MAX || !(t->groups = ARENA_ARRAY(mem, struct taken_group, count ? count : 1)))
		return false;
	while (field_next(&in, &tag, &value))
		if (!record_get_all(value, RECORD_TABLE(group_rows), &t->groups[t->group_count++]) || t->groups[t->group_count - 1].recipients == 0)
			return false;
	return true;
}

static bool get_entries(struct slice in, bool ordered, struct roll *r)
{
	struct slice value, before = SLICE("");
	uint8_t tag;
	for (size_t i = 0; i < r->count; i++) {
		struct roll_entry *e = &r->entries[i];
		if (!field_next(&in, &tag, &value) || tag != TAG_ENTRY || !record_get(&value, RECORD_TABLE(entry_rows), e) || !spool_is_id(e->taken.id) ||
		    (ordered && slice_cmp(before, e->taken.id) >= 0) || !get_groups(value, &r->mem, &e->taken))
			return false;
		before = e->taken.id;
	}
	return in.n == 0;
}

int roll_parse(struct buf *text, bool ordered, struct roll *out)
{
	*out = (struct roll){ .text = *text, .mem = ARENA_INIT(MAX_MEMORY) };
	buf_init(text, text->max);
	struct slice all = buf_slice(&out->text), body = slice_skip(all, HEAD);
	bool good = all.n >= HEAD && memcmp(all.p, magic, sizeof magic) == 0 && get_u64(all.p + 16) == body.n && get_u64(all.p + 24) == journal_checksum(body);
	out->count = good ? (size_t)get_u64(all.p + 8) : 0;
	good = good && out->count <= body.n && (out->entries = ARENA_ARRAY(&out->mem, struct roll_entry, out->count ? out->count : 1)) && get_entries(body, ordered, out);
	if (good)
		return 0;
	roll_free(out);
	return -EBADMSG;
}

void roll_free(struct roll *r)
{
	buf_free(&r->text);
	arena_free(&r->mem);
	r->entries = NULL;
	r->count = 0;
}

static int by_id(const void *id, const void *entry)
{
	return slice_cmp(*(const struct slice *)id, ((const struct roll_entry *)entry)->taken.id);
}

const struct roll_entry *roll_find(const struct roll *r, struct slice id)
{
	return r->count ? bsearch(&id, r->entries, r->count, sizeof *r->entries, by_id) : NULL;
}

bool roll_holds(const struct roll_entry *e, const struct roll_mark *m)
{
	return e->mark.inode == m->inode && e->mark.size == m->size && e->mark.changed_s == m->changed_s && e->mark.changed_ns == m->changed_ns;
}

/* -- files --------------------------------------------------------------------------------------------------------------------------- */

int roll_write(struct spool *s, struct slice folder, struct slice text)
{
	char name[ROLL_NAME + 1], staged[ROLL_NAME + 5];
	int fd = -1;
	if (folder.n != ROLL_NAME)
		return -EINVAL;
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(folder));
	snprintf(staged, sizeof staged, "%s.new", name);
	int error = file_open(s->rolls, staged, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	error = error ? error : file_write(fd, text);
	file_close(&fd);
	error = error ? error : file_rename(s->rolls, staged, s->rolls, name);
	if (error)
		file_unlink(s->rolls, staged);
	return error;
}

static int read_file(struct spool *s, const char *name, struct buf *out)
{
	struct stat st;
	struct roll_mark m;
	int fd = -1, error = file_open(s->rolls, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, &fd);
	error = error ? error : file_stat_fd(fd, &st);
	if (!error && (!roll_mark_of(s, &st, &m) || m.size > ROLL_MAX))
		error = -EBADMSG;
	char *to = error ? NULL : buf_room(out, (size_t)m.size + 1);
	ssize_t n = to ? pread(fd, to, (size_t)m.size, 0) : 0;
	if (!error && (n < 0 || (uint64_t)n != m.size))
		error = n < 0 ? -errno : -EBADMSG;
	if (!error)
		buf_used(out, (size_t)n);
	file_close(&fd);
	return error == -ELOOP ? -EBADMSG : error;
}

int roll_read(struct spool *s, struct slice folder, struct roll *out)
{
	struct buf text = BUF_INIT(ROLL_MAX + 1);
	char name[ROLL_NAME + 1];
	*out = (struct roll){ .count = 0 };
	if (folder.n != ROLL_NAME)
		return -ENOENT;
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(folder));
	int error = read_file(s, name, &text);
	error = error ? error : roll_parse(&text, true, out);
	buf_free(&text);
	return error;
}

int roll_remove(struct spool *s, struct slice folder)
{
	char name[ROLL_NAME + 1];
	if (folder.n != ROLL_NAME)
		return -ENOENT;
	snprintf(name, sizeof name, "%.*s", SLICE_FMT(folder));
	return file_unlink(s->rolls, name);
}
