/* The record of one message's outcome, and the store that counts equal ones. Key: day, domain NUL digest of the policy, digest of the row, so that what is due comes
 * first; value: a version, a count, the record. A report holds one policy, so a domain that changed it gets one for each (RFC 9990, 3.1). */
#include "queue/feedback.h"

#include <db.h>
#include <errno.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/field.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

enum { VERSION = 1, HEAD = 9 /* version, count */, DIGEST = 16, DAY_DIGITS = 8, MAX_KEY = 400, ROW_XML = 1200 /* a row's tags and numbers */, ORGANISATIONS = 4096 };
enum tag { TAG_TO = 1, TAG_ORGANISATION, TAG_FIRST };

/* -- the record ------------------------------------------------------------------------------------------------------------- */

static const size_t report_fields[] = { offsetof(struct dmarc_report, domain), offsetof(struct dmarc_report, p), offsetof(struct dmarc_report, sp),
	                                offsetof(struct dmarc_report, np), offsetof(struct dmarc_report, adkim), offsetof(struct dmarc_report, aspf),
	                                offsetof(struct dmarc_report, testing), offsetof(struct dmarc_report, discovery) };
static const size_t row_fields[] = { offsetof(struct dmarc_report_row, source_ip), offsetof(struct dmarc_report_row, disposition), offsetof(struct dmarc_report_row, dkim),
	                             offsetof(struct dmarc_report_row, spf), offsetof(struct dmarc_report_row, reason), offsetof(struct dmarc_report_row, header_from),
	                             offsetof(struct dmarc_report_row, envelope_from), offsetof(struct dmarc_report_row, dkim_domain),
	                             offsetof(struct dmarc_report_row, dkim_selector), offsetof(struct dmarc_report_row, dkim_result),
	                             offsetof(struct dmarc_report_row, spf_domain), offsetof(struct dmarc_report_row, spf_result) };
enum { REPORT_FIELDS = sizeof report_fields / sizeof *report_fields, ROW_FIELDS = sizeof row_fields / sizeof *row_fields };

static struct slice *field_at(void *target, size_t offset)
{
	return (struct slice *)(void *)((char *)target + offset);
}

static void put_policy(struct buf *out, const struct feedback *f)
{
	for (size_t i = 0; i < REPORT_FIELDS; i++)
		field_add(out, (uint8_t)(TAG_FIRST + i), *field_at((void *)(uintptr_t)&f->report, report_fields[i]));
}

static void put_row(struct buf *out, const struct feedback *f)
{
	for (size_t i = 0; i < ROW_FIELDS; i++)
		field_add(out, (uint8_t)(TAG_FIRST + REPORT_FIELDS + i), *field_at(f->report.rows, row_fields[i]));
}

int feedback_put(struct buf *out, const struct feedback *f)
{
	for (size_t i = 0; i < f->to_count; i++)
		field_add(out, TAG_TO, f->to[i]);
	field_add(out, TAG_ORGANISATION, f->organisation);
	put_policy(out, f);
	put_row(out, f);
	return buf_full(out) || out->n > FEEDBACK_MAX_RECORD ? -EMSGSIZE : 0;
}

int feedback_get(struct slice payload, struct dmarc_report_row *row, struct feedback *out)
{
	struct slice value, none = SLICE("");
	uint8_t tag;
	*row = (struct dmarc_report_row){ none, 0, none, none, none, none, none, none, none, none, none, none, none };
	*out = (struct feedback){ .report = { none, none, none, 0, 0, none, none, none, none, none, none, none, none, row, 1 }, .organisation = none };
	while (field_next(&payload, &tag, &value)) {
		if (value.n > 300)
			return -EPROTO;
		size_t at = tag - TAG_FIRST;
		if (tag == TAG_TO && out->to_count < FEEDBACK_MAX_URIS)
			out->to[out->to_count++] = value;
		else if (tag == TAG_ORGANISATION)
			out->organisation = value;
		else if (tag >= TAG_FIRST && at < REPORT_FIELDS)
			*field_at(&out->report, report_fields[at]) = value;
		else if (tag >= TAG_FIRST && at < REPORT_FIELDS + ROW_FIELDS)
			*field_at(row, row_fields[at - REPORT_FIELDS]) = value;
		else
			return -EPROTO;
	}
	return payload.n || !out->report.domain.n || !out->to_count || memchr(out->report.domain.p, 0, out->report.domain.n) ? -EPROTO : 0;
}

/* -- the store -------------------------------------------------------------------------------------------------------------- */

struct feedback_store {
	DB *db;
	char *path;
	uint64_t rows;
	int64_t day;                           /* whose rows these are: */
	uint32_t by_organisation[ORGANISATIONS]; /* by a secret hash: nobody chooses whose share he uses up */
	struct hash_key key;
};

static DB *open_file(const char *path)
{
	DB *db = NULL;
	if (db_create(&db, NULL, 0))
		return NULL;
	db->set_errfile(db, NULL);
	if (db->open(db, NULL, path, NULL, DB_BTREE, DB_CREATE, 0600) == 0)
		return db;
	db->close(db, DB_NOSYNC);
	return NULL;
}

/* How many rows there are: each is looked at, once for a start. */
static int count_rows(DB *db, uint64_t *rows)
{
	DBC *cursor = NULL;
	DBT k = { .flags = 0 }, v = { .flags = DB_DBT_PARTIAL };
	int error = db->cursor(db, NULL, &cursor, 0);
	if (error)
		return error;
	*rows = 0;
	while ((error = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
		++*rows;
	cursor->close(cursor);
	return error == DB_NOTFOUND ? 0 : error;
}

static bool open_db(struct feedback_store *s)
{
	s->db = open_file(s->path);
	if (s->db && count_rows(s->db, &s->rows) == 0)
		return true;
	if (s->db)
		s->db->close(s->db, DB_NOSYNC);
	s->db = NULL;
	return false;
}

/* A damaged file tells nothing: away with it. */
static void begin_anew(struct feedback_store *s)
{
	if (s->db)
		s->db->close(s->db, DB_NOSYNC);
	s->db = NULL;
	s->rows = 0;
	log_event(LOG_WARN, "feedback-damaged", LOG_CSTR("file", s->path), LOG_END);
	if (unlink(s->path) == 0)
		open_db(s);
}

struct feedback_store *feedback_store_open(struct slice path)
{
	struct feedback_store *s = MEM_NEW(struct feedback_store);
	s->path = mem_copy(path.p, path.n);
	s->key = hash_key_random();
	if (!open_db(s))
		begin_anew(s);
	if (s->db)
		return s;
	feedback_store_close(s);
	return NULL;
}

void feedback_store_close(struct feedback_store *s)
{
	if (!s)
		return;
	if (s->db)
		s->db->close(s->db, 0);
	mem_free(s->path);
	mem_free(s);
}

int feedback_store_sync(struct feedback_store *s)
{
	return s->db && s->db->sync(s->db, 0) == 0 ? 0 : -EIO;
}

static void add_digest(struct buf *key, void (*put)(struct buf *out, const struct feedback *f), const struct feedback *f)
{
	struct buf b = BUF_INIT(FEEDBACK_MAX_RECORD);
	uint8_t digest[32];
	put(&b, f);
	crypto_sha256(buf_slice(&b), digest);
	buf_add(key, slice((char *)digest, DIGEST));
	buf_free(&b);
}

static void make_key(const struct feedback *f, int64_t day, struct buf *key)
{
	buf_addf(key, "%08lld", (long long)day);
	for (size_t i = 0; i < f->report.domain.n; i++)
		buf_add_byte(key, text_lower_byte(f->report.domain.p[i]));
	buf_add_byte(key, 0);
	add_digest(key, put_policy, f);
	add_digest(key, put_row, f);
}

/* A value's record; the count before it. False: it is none of ours. */
static bool read_value(struct slice value, uint64_t *count, struct dmarc_report_row *row, struct feedback *f)
{
	if (value.n <= HEAD || value.p[0] != VERSION)
		return false;
	*count = 0;
	for (size_t i = 1; i < HEAD; i++)
		*count = *count << 8 | (unsigned char)value.p[i];
	return feedback_get(slice_skip(value, HEAD), row, f) == 0;
}

/* True: one more row of this organisation may be begun. */
static bool has_room(struct feedback_store *s, const struct feedback *f, int64_t day)
{
	if (day != s->day)
		memset(s->by_organisation, 0, sizeof s->by_organisation);
	s->day = day;
	uint32_t *rows = &s->by_organisation[hash_bytes(&s->key, f->organisation) % ORGANISATIONS];
	if (s->rows >= FEEDBACK_MAX_ROWS || *rows >= FEEDBACK_MAX_ORGANISATION_ROWS)
		return false;
	s->rows++;
	++*rows;
	return true;
}

static int write_value(struct feedback_store *s, struct slice key, uint64_t count, struct slice record)
{
	struct buf b = BUF_INIT(HEAD + FEEDBACK_MAX_RECORD);
	buf_add_byte(&b, VERSION);
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_add_byte(&b, (char)(count >> shift));
	buf_add(&b, record);
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.n }, v = { .data = b.p, .size = (u_int32_t)b.n };
	int error = s->db->put(s->db, NULL, &k, &v, 0);
	buf_free(&b);
	return error ? -EIO : 0;
}

static int count_one(struct feedback_store *s, const struct feedback *f, int64_t day, struct slice key, struct slice record)
{
	char value[HEAD + FEEDBACK_MAX_RECORD];
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.n }, v = { .data = value, .ulen = sizeof value, .flags = DB_DBT_USERMEM };
	struct feedback old;
	struct dmarc_report_row row;
	uint64_t count = 0;
	int error = s->db->get(s->db, NULL, &k, &v, 0);
	if (error == 0 && read_value(slice(value, v.size), &count, &row, &old))
		return write_value(s, key, count + 1, old.to_count > f->to_count ? slice_skip(slice(value, v.size), HEAD) : record);
	if (error && error != DB_NOTFOUND)
		return -EIO;
	return has_room(s, f, day) ? write_value(s, key, 1, record) : -ENOSPC;
}

int feedback_store_count(struct feedback_store *s, const struct feedback *f, int64_t day)
{
	struct buf key = BUF_INIT(MAX_KEY), record = BUF_INIT(FEEDBACK_MAX_RECORD);
	int error = s->db ? feedback_put(&record, f) : -EIO;
	make_key(f, day, &key);
	if (!error)
		error = buf_full(&key) ? -EMSGSIZE : count_one(s, f, day, buf_slice(&key), buf_slice(&record));
	buf_free(&key);
	buf_free(&record);
	return error;
}

/* -- a report's rows -------------------------------------------------------------------------------------------------------- */

/* Day, domain and policy: what has these in common is one report. */
static bool read_key(struct slice key, struct slice *group, int64_t *day)
{
	uint64_t v;
	if (key.n <= DAY_DIGITS + 1 + 2 * DIGEST || !scan_uint_all(slice_head(key, DAY_DIGITS), 99999999, &v))
		return false;
	*group = slice_head(key, key.n - DIGEST);
	*day = (int64_t)v;
	return true;
}

static void add_destination(struct feedback *all, struct slice to)
{
	for (size_t i = 0; i < all->to_count; i++)
		if (slice_eq_nocase(all->to[i], to))
			return;
	if (all->to_count < FEEDBACK_MAX_URIS)
		all->to[all->to_count++] = to;
}

/* What a value can't make longer than this in XML: each byte is escaped in five at most. */
static size_t weight_of(struct slice record)
{
	size_t n = ROW_XML + record.n;
	for (size_t i = 0; i < record.n; i++)
		n += record.p[i] == '<' || record.p[i] == '>' || record.p[i] == '&' ? 4 : 0;
	return n;
}

/* False: it doesn't fit any more. A row that can't be read counts for nothing. */
static bool add_row(struct feedback_batch *b, size_t *room, struct slice value)
{
	struct feedback f;
	struct dmarc_report_row row;
	uint64_t messages;
	if (b->weight + weight_of(value) > FEEDBACK_MAX_XML)
		return false;
	struct slice copy = arena_copy(&b->mem, value);
	if (!copy.p || !read_value(copy, &messages, &row, &f))
		return copy.p != NULL;
	if (b->count == *room) {
		struct dmarc_report_row *more = ARENA_ARRAY(&b->mem, struct dmarc_report_row, *room ? *room * 2 : 64);
		if (!more)
			return false;
		if (b->count)
			memcpy(more, b->rows, b->count * sizeof *more);
		b->rows = more;
		*room = *room ? *room * 2 : 64;
	}
	if (!b->count)
		b->first = f;
	for (size_t i = 0; i < f.to_count; i++)
		add_destination(&b->first, f.to[i]);
	row.count = messages;
	b->rows[b->count++] = row;
	b->messages += messages;
	b->weight += weight_of(value);
	return true;
}

/* From the cursor on, all that belongs together. 0 or Berkeley DB's error. */
static int take_rows(struct feedback_store *s, DBC *cursor, int64_t until_day, struct feedback_batch *b)
{
	DBT k = { .flags = 0 }, v = { .flags = 0 };
	struct slice group, mine = SLICE("");
	size_t room = 0;
	int64_t day;
	int error;
	while ((error = cursor->get(cursor, &k, &v, DB_NEXT)) == 0) {
		bool good = read_key(slice(k.data, k.size), &group, &day);
		if (good && (day >= until_day || (mine.n && !slice_eq(group, mine))))
			break;
		if (good && !mine.n) {
			mine = arena_copy(&b->mem, group);
			b->day = day;
		}
		if (good && !add_row(b, &room, slice(v.data, v.size)))
			break;
		if ((error = cursor->del(cursor, 0)))
			break;
		s->rows -= s->rows > 0;
	}
	return error == DB_NOTFOUND ? 0 : error;
}

int feedback_store_take(struct feedback_store *s, int64_t until_day, struct feedback_batch *b)
{
	DBC *cursor = NULL;
	*b = (struct feedback_batch){ .mem = ARENA_INIT(64 << 20) };
	if (!s->db || s->db->cursor(s->db, NULL, &cursor, 0))
		return -EIO;
	int error = take_rows(s, cursor, until_day, b);
	cursor->close(cursor);
	if (!error && b->count)
		return 1;
	arena_free(&b->mem);
	if (error)
		begin_anew(s);
	return error ? -EIO : 0;
}
