/* Dead letters: messages whose report the gate withheld. Kept in dead/ for the postmaster; once a day a digest tells of new ones, and those past their time go. */
#include "queue/dead_letter.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/unique.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"
#include "queue/report.h"

enum { MAX_DIGEST = 256 << 10, LINES = 200, MAX_RAW = 88 << 20, MAX_MEMORY = 16 << 20, DAY_S = 86400 };

struct digest {
	struct queue *queue;
	int64_t since_s, now_s;
	struct buf lines, raw;
	struct arena mem;
	uint64_t fresh, all, removed;
};

static bool look_at_one(void *arg, struct slice id)
{
	struct digest *d = arg;
	struct spool_message m;
	const char *why;
	d->all++;
	if (spool_read(d->queue->spool, SPOOL_DEAD, id, &d->raw, &d->mem, &m, &why))
		return true;
	file_close(&m.fd);
	if (d->now_s - m.envelope.arrived_s > (int64_t)queue_settings.dead_letter_s) {
		d->removed += spool_remove(d->queue->spool, SPOOL_DEAD, id) == 0;
	} else if (m.envelope.arrived_s >= d->since_s) {
		if (d->fresh++ < LINES)
			buf_addf(&d->lines, "  %.*s  from <%.*s>, to <%.*s>%s, evidence %.*s\r\n", SLICE_FMT(id), SLICE_FMT(slice_head(m.envelope.reverse_path, 200)),
			         SLICE_FMT(slice_head(m.envelope.recipients[0].address, 200)), m.envelope.recipient_count > 1 ? " and others" : "",
			         SLICE_FMT(evidence_name(m.envelope.evidence.grade)));
	}
	arena_reset(&d->mem);
	return true;
}

static void look(void *arg)
{
	struct digest *d = arg;
	spool_scan(d->queue->spool, SPOOL_DEAD, look_at_one, d);
	buf_free(&d->raw);
	arena_free(&d->mem);
}

static void send_digest(struct digest *d)
{
	struct queue *q = d->queue;
	struct unique id = unique_new();
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf text = BUF_INIT(MAX_DIGEST);
	struct slice to = slice_of(q->postmaster_text);
	report_write_head(&text, q->host, to, to, SLICE("Dead letters of the last day"), unique_slice(&id), d->now_s, SLICE(""), "auto-generated");
	buf_addf(&text, "%llu message(s) failed whose senders were not proven, so that no report was sent to them.\r\nThey are kept: porterctl dead list | show ID | release ID | drop ID\r\n\r\n",
	         (unsigned long long)d->fresh);
	buf_add(&text, buf_slice(&d->lines));
	if (d->fresh > LINES)
		buf_addf(&text, "  ... and %llu more\r\n", (unsigned long long)(d->fresh - LINES));
	buf_addf(&text, "\r\n%llu are kept in all.\r\n", (unsigned long long)(d->all - d->removed));
	struct envelope_recipient recipient = queue_address(q, to, &mem);
	struct envelope e = { .id = unique_slice(&id), .arrived_s = d->now_s, .expires_s = queue_expiry(d->now_s),
		              .evidence = { EVIDENCE_LOCAL, SLICE("porter"), SLICE("a digest of ours") }, .reverse_path = SLICE(""), .report = true, .client = SLICE("local"),
		              .transaction = unique_slice(&id), .sign = true, .recipients = &recipient, .recipient_count = 1 };
	queue_post(q, &e, &text, NULL, NULL);
	buf_free(&text);
	arena_free(&mem);
}

static void looked(void *arg)
{
	struct digest *d = arg;
	struct queue *q = d->queue;
	if (d->removed)
		log_event(LOG_INFO, "dead-letters-expired", LOG_UINT("messages", d->removed), LOG_END);
	if (d->fresh && queue_settings.digest && !q->draining)
		send_digest(d);
	buf_free(&d->lines);
	mem_free(d);
	queue_end(q);
}

void dead_letter_daily(struct queue *q)
{
	int64_t now = clock_wall_s();
	if (now / DAY_S == q->digest_day || q->draining)
		return;
	q->digest_day = now / DAY_S;
	struct digest *d = MEM_NEW(struct digest);
	*d = (struct digest){ .queue = q, .since_s = now - DAY_S, .now_s = now, .lines = BUF_INIT(MAX_DIGEST / 2), .raw = BUF_INIT(MAX_RAW), .mem = ARENA_INIT(MAX_MEMORY) };
	queue_begin(q);
	worker_add(q->files, look, looked, d);
}
