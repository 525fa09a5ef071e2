/* Gathering and mailing DMARC aggregate reports. Key: domain NUL day NUL digest of the record; value: a count and the record. What a crash loses is
 * statistics of minutes, so nothing is synced by force; a damaged file is begun anew. */
#include "queue/feedback.h"

#include <db.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/field.h"
#include "base/inflate.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/report.h"

enum { DAY_S = 86400, COUNT = 8, MAX_XML = 16 << 20, MAX_MAIL = 24 << 20, MAX_ROWS = 20000, MAX_KEY = 400 };
enum tag { TAG_TO = 1, TAG_FIRST };

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

int feedback_put(struct buf *out, const struct feedback *f)
{
	for (size_t i = 0; i < f->to_count; i++)
		field_add(out, TAG_TO, f->to[i]);
	for (size_t i = 0; i < REPORT_FIELDS; i++)
		field_add(out, (uint8_t)(TAG_FIRST + i), *field_at((void *)(uintptr_t)&f->report, report_fields[i]));
	for (size_t i = 0; i < ROW_FIELDS; i++)
		field_add(out, (uint8_t)(TAG_FIRST + REPORT_FIELDS + i), *field_at(f->report.rows, row_fields[i]));
	return buf_full(out) || out->n > FEEDBACK_MAX_RECORD ? -EMSGSIZE : 0;
}

int feedback_get(struct slice payload, struct dmarc_report_row *row, struct feedback *out)
{
	struct slice value, none = SLICE("");
	uint8_t tag;
	*row = (struct dmarc_report_row){ none, 0, none, none, none, none, none, none, none, none, none, none, none };
	*out = (struct feedback){ .report = { none, none, none, 0, 0, none, none, none, none, none, none, none, none, row, 1 } };
	while (field_next(&payload, &tag, &value)) {
		if (value.n > 300)
			return -EPROTO;
		size_t at = tag - TAG_FIRST;
		if (tag == TAG_TO && out->to_count < FEEDBACK_MAX_URIS)
			out->to[out->to_count++] = value;
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

static DB *store;
static uint64_t row_count;

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

static DB *open_store(struct queue *q)
{
	char path[4200];
	if (store)
		return store;
	snprintf(path, sizeof path, "%s/feedback.db", q->setup.spool_path);
	store = open_file(path);
	if (!store && unlink(path) == 0) {
		log_event(LOG_WARN, "feedback-damaged", LOG_CSTR("file", path), LOG_END);
		store = open_file(path);
	}
	return store;
}

void feedback_close(void)
{
	if (store)
		store->close(store, 0);
	store = NULL;
}

static void make_key(struct slice domain, int64_t day, struct slice record, struct buf *key)
{
	uint8_t digest[32];
	crypto_sha256(record, digest);
	for (size_t i = 0; i < domain.n; i++)
		buf_add_byte(key, text_lower_byte(domain.p[i]));
	buf_addf(key, "%c%08lld%c", 0, (long long)day, 0);
	buf_add(key, slice((char *)digest, 16));
}

static void count_one(DB *db, struct slice key, struct slice record)
{
	char value[COUNT + FEEDBACK_MAX_RECORD];
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.n }, v = { .data = value, .ulen = sizeof value, .flags = DB_DBT_USERMEM };
	uint64_t count = 0;
	if (db->get(db, NULL, &k, &v, 0) == 0 && v.size >= COUNT)
		memcpy(&count, value, COUNT);
	else if (++row_count > FEEDBACK_MAX_ROWS)
		return;
	count++;
	memcpy(value, &count, COUNT);
	memcpy(value + COUNT, record.p, record.n);
	v.size = (u_int32_t)(COUNT + record.n);
	db->put(db, NULL, &k, &v, 0);
}

int feedback_message(struct peer *p, struct ipc_message *m)
{
	struct feedback f;
	struct dmarc_report_row row;
	struct buf key = BUF_INIT(MAX_KEY);
	DB *db = open_store(p->queue);
	if (m->payload.n > FEEDBACK_MAX_RECORD || feedback_get(m->payload, &row, &f))
		return -EPROTO;
	make_key(f.report.domain, clock_wall_s() / DAY_S, m->payload, &key);
	if (db && !buf_full(&key))
		count_one(db, buf_slice(&key), m->payload);
	buf_free(&key);
	return 0;
}

/* -- reports ---------------------------------------------------------------------------------------------------------------- */

/* The rows of one domain and day. */
struct gathering {
	struct arena mem;
	struct slice domain;
	int64_t day;
	struct feedback first;
	struct dmarc_report_row *rows;
	size_t count, room;
	uint64_t messages;
};

static bool read_key(struct slice key, struct slice *domain, int64_t *day)
{
	struct slice rest, digest;
	uint64_t v;
	*domain = slice_cut(key, 0, &rest);
	struct slice number = slice_cut(rest, 0, &digest);
	if (!digest.p || !scan_uint_all(number, 99999999, &v))
		return false;
	*day = (int64_t)v;
	return true;
}

static void add_row(struct gathering *g, struct slice value)
{
	struct feedback f;
	struct slice record = arena_copy(&g->mem, slice_skip(value, COUNT));
	if (g->count == g->room) {
		g->room = g->room ? g->room * 2 : 64;
		struct dmarc_report_row *more = ARENA_ARRAY(&g->mem, struct dmarc_report_row, g->room);
		if (!more)
			return;
		if (g->count)
			memcpy(more, g->rows, g->count * sizeof *more);
		g->rows = more;
	}
	struct dmarc_report_row *row = &g->rows[g->count];
	if (!record.p || feedback_get(record, row, &f))
		return;
	memcpy(&row->count, value.p, COUNT);
	g->messages += row->count;
	g->count++;
	g->first = f;
}

static void write_mail(struct queue *q, const struct gathering *g, struct slice to, struct slice id, struct slice packed, struct buf *out)
{
	struct buf subject = BUF_INIT(1000);
	int64_t begin_s = g->day * DAY_S, end_s = begin_s + DAY_S - 1;
	struct slice from = slice_of(q->postmaster_text);
	buf_addf(&subject, "Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>", SLICE_FMT(g->domain), SLICE_FMT(q->host), SLICE_FMT(id));
	report_write_head(out, &(struct report_head){ .host = q->host, .from = from, .to = to, .id = id, .subject = buf_slice(&subject), .now_s = clock_wall_s(),
	                                              .auto_submitted = "auto-generated" });
	buf_addf(out, "Content-Type: multipart/mixed; boundary=\"=_%.*s\"\r\n\r\n--=_%.*s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
	         "A DMARC aggregate report for %.*s by %.*s: %llu messages.\r\n\r\n--=_%.*s\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n"
	         "Content-Disposition: attachment;\r\n\tfilename=\"%.*s!%.*s!%lld!%lld.xml.gz\"\r\n\r\n",
	         SLICE_FMT(id), SLICE_FMT(id), SLICE_FMT(g->domain), SLICE_FMT(q->host), (unsigned long long)g->messages, SLICE_FMT(id), SLICE_FMT(q->host),
	         SLICE_FMT(g->domain), (long long)begin_s, (long long)end_s);
	for (struct slice rest = packed; rest.n; rest = slice_skip(rest, 57)) {
		text_add_base64(out, slice_head(rest, 57));
		buf_add_cstr(out, "\r\n");
	}
	buf_addf(out, "--=_%.*s--\r\n", SLICE_FMT(id));
	buf_free(&subject);
}

static void post(struct queue *q, const struct gathering *g, struct slice to, struct slice packed)
{
	struct unique id = unique_new();
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf text = BUF_INIT(MAX_MAIL);
	int64_t now_s = clock_wall_s();
	write_mail(q, g, to, unique_slice(&id), packed, &text);
	struct envelope_recipient recipient = queue_address(q, to, &mem);
	struct envelope e = { .id = unique_slice(&id), .arrived_s = now_s, .expires_s = now_s + DAY_S, .evidence = { EVIDENCE_LOCAL, SLICE("porter"), SLICE("a DMARC report of ours") },
		              .reverse_path = SLICE(""), .report = true, .client = SLICE("local"), .transaction = unique_slice(&id), .sign = true, .recipients = &recipient,
		              .recipient_count = 1 };
	log_event(LOG_INFO, "dmarc-report", LOG_STR("id", e.id), LOG_STR("domain", g->domain), LOG_STR("to", to), LOG_UINT("messages", g->messages), LOG_END);
	queue_post(q, &e, &text, NULL, NULL);
	buf_free(&text);
	arena_free(&mem);
}

static bool send_one(struct queue *q, struct gathering *g)
{
	struct buf xml = BUF_INIT(MAX_XML), packed = BUF_INIT(MAX_XML), id = BUF_INIT(400);
	buf_addf(&id, "%lld.%.*s", (long long)g->day, SLICE_FMT(g->domain));
	struct dmarc_report r = g->first.report;
	r.org_name = q->host;
	r.email = slice_of(q->postmaster_text);
	r.report_id = buf_slice(&id);
	r.begin_s = g->day * DAY_S;
	r.end_s = r.begin_s + DAY_S - 1;
	r.rows = g->rows;
	r.row_count = g->count;
	bool good = g->count && dmarc_report_write(&r, &xml) == 0 && deflate_gzip(buf_slice(&xml), &packed) == 0;
	for (size_t i = 0; good && i < g->first.to_count; i++)
		post(q, g, g->first.to[i], buf_slice(&packed));
	buf_free(&xml);
	buf_free(&packed);
	buf_free(&id);
	return good;
}

/* The first domain and day that is due, its rows taken out of the store. False: nothing is due. */
static bool gather(DB *db, int64_t until_day, struct gathering *g)
{
	DBC *cursor = NULL;
	DBT k = { .flags = 0 }, v = { .flags = 0 };
	bool found = false;
	if (db->cursor(db, NULL, &cursor, 0))
		return false;
	while (cursor->get(cursor, &k, &v, DB_NEXT) == 0 && g->count < MAX_ROWS) {
		struct slice domain;
		int64_t day;
		if (!read_key(slice(k.data, k.size), &domain, &day) || v.size <= COUNT) {
			cursor->del(cursor, 0);
			continue;
		}
		if (day >= until_day || (found && (day != g->day || !slice_eq(domain, g->domain)))) {
			if (found)
				break;
			continue;
		}
		if (!found) {
			g->domain = arena_copy(&g->mem, domain);
			g->day = day;
			found = true;
		}
		add_row(g, slice(v.data, v.size));
		cursor->del(cursor, 0);
		row_count -= row_count > 0;
	}
	cursor->close(cursor);
	return found;
}

unsigned feedback_send(struct queue *q, bool all)
{
	static int64_t done_day;
	int64_t today = clock_wall_s() / DAY_S;
	unsigned count = 0;
	if (q->draining || (!all && today == done_day))
		return 0;
	done_day = today;
	DB *db = open_store(q);
	for (int i = 0; db && i < 10000; i++) {
		struct gathering g = { .mem = ARENA_INIT(64 << 20) };
		bool found = gather(db, all ? today + 1 : today, &g);
		if (found)
			count += send_one(q, &g);
		arena_free(&g.mem);
		if (!found)
			break;
	}
	if (db)
		db->sync(db, 0);
	return count;
}
