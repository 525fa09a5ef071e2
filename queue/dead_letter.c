/* Dead letters: messages whose report the gate withheld, and what filters held back. Kept in dead/ for the postmaster; once a day a digest tells of new ones and of
 * the attacks that were fended off, and those past their time go. */
#include "queue/dead_letter.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/attacks.h"
#include "queue/own_mail.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"

enum { MAX_DIGEST = 256 << 10, LINES = 200, TOP = 5, MAX_RAW = 88 << 20, MAX_MEMORY = 16 << 20, DAY_S = 86400, HELD_S = 3600 };

#define STAMP "digest"

struct digest {
	struct queue *queue;
	int64_t since_s, now_s;
	struct buf lines, raw;
	struct arena mem;
	uint64_t fresh, all, removed;
	bool daily;                 /* not because somebody asked */
	bool wanted;                /* it is sent, where there is something to tell */
};

static void write_line(struct buf *out, const struct envelope *e)
{
	buf_addf(out, "  %.*s  from <%.*s>, to <%.*s>%s, evidence %.*s", SLICE_FMT(e->id), SLICE_FMT(slice_head(e->reverse_path, 200)),
	         SLICE_FMT(slice_head(e->recipients[0].address, 200)), e->recipient_count > 1 ? " and others" : "", SLICE_FMT(evidence_name(e->evidence.grade)));
	if (intake_is_held(e))
		buf_addf(out, ", %.*s", SLICE_FMT(slice_head(e->evidence.reason, 300)));
	buf_add_cstr(out, "\r\n");
}

/* The first one in an hour is told at once, the others stand in the digest: what strangers send must not fill the postmaster's mailbox. */
void dead_letter_held(struct queue *q, const struct envelope *e)
{
	int64_t now = clock_wall_s();
	struct buf text = BUF_INIT(4096);
	if (q->held_told_s && now - q->held_told_s < HELD_S)
		return;
	q->held_told_s = now;
	buf_add_cstr(&text, "A filter held a message back. It was accepted, and nobody has it:\r\n\r\n");
	write_line(&text, e);
	buf_addf(&text, "\r\nLook at it, let it go on to its recipients, or remove it:\r\n\r\n  porterctl dead show %.*s | release %.*s | drop %.*s\r\n\r\n"
	                "Further ones stand in \"porterctl dead list\" and in the daily digest; another notice like this\r\none comes in an hour at the earliest.\r\n", SLICE_FMT(e->id), SLICE_FMT(e->id), SLICE_FMT(e->id));
	own_mail_send(q, &(struct own_mail){ slice_of(q->postmaster_text), SLICE("A message was held back"), buf_slice(&text), SLICE("a notice of ours") });
	buf_free(&text);
}

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
			write_line(&d->lines, &m.envelope);
	}
	arena_reset(&d->mem);
	return true;
}

/* The day of the last look is a file's time, so a day that ends while nobody serves has its digest at the next start. */
static void stamp(const struct queue *q)
{
	int fd, error = file_open(q->setup.spool, STAMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	if (error == 0) {
		error = file_write(fd, SLICE("\n"));
		file_close(&fd);
	}
	if (error)
		log_event(LOG_WARN, "digest-day-not-kept", LOG_ERRNO(error), LOG_END);
}

void dead_letter_start(struct queue *q)
{
	struct stat st;
	if (file_stat_at(q->setup.spool, STAMP, &st) == 0 && S_ISREG(st.st_mode)) {
		q->digest_day = st.st_mtim.tv_sec / DAY_S;
	} else {
		q->digest_day = clock_wall_s() / DAY_S;
		stamp(q);
	}
}

static void look(void *arg)
{
	struct digest *d = arg;
	if (d->daily)
		stamp(d->queue);
	spool_scan(d->queue->spool, SPOOL_DEAD, look_at_one, d);
	buf_free(&d->raw);
	arena_free(&d->mem);
}

static void write_top(struct buf *out, const char *title, const struct attack_top *rows, size_t count)
{
	buf_addf(out, "  %s:", title);
	for (size_t i = 0; i < count && i < TOP; i++)
		buf_addf(out, "%s %s (%llu)", i ? "," : "", rows[i].name, (unsigned long long)rows[i].count);
	buf_add_cstr(out, "\r\n");
}

static void write_attacks(struct buf *out, const struct attack_report *r)
{
	buf_addf(out, "Attacks that were fended off: %llu attempts. As shipped, Postfix would have sent %llu report(s), %llu KiB,\r\nto forged senders;\r\nthe gate withheld %llu, the others were never needed.\r\n\r\n",
	         (unsigned long long)r->attempts, (unsigned long long)r->spared_messages, (unsigned long long)r->spared_bytes / 1024, (unsigned long long)attack_withheld(r));
	for (unsigned k = 0; k < ATTACK_KINDS; k++)
		if (attack_total(r, (enum attack_kind)k))
			buf_addf(out, "  %9llu  %.*s\r\n", (unsigned long long)attack_total(r, (enum attack_kind)k), SLICE_FMT(attack_name((enum attack_kind)k)));
	buf_add_cstr(out, "\r\n");
	write_top(out, "from", r->networks, r->network_count);
	write_top(out, "as", r->domains, r->domain_count);
	buf_add_cstr(out, "\r\nMore: porterctl attacks --since 1d --names\r\n\r\n");
}

static void write_dead(struct buf *out, const struct digest *d)
{
	buf_addf(out, "%llu message(s) failed whose senders were not proven, so that no report was sent to them,\r\nor were held back by a filter. They are kept: porterctl dead list | show ID | release ID | drop ID\r\n\r\n",
	         (unsigned long long)d->fresh);
	buf_add(out, buf_slice(&d->lines));
	if (d->fresh > LINES)
		buf_addf(out, "  ... and %llu more\r\n", (unsigned long long)(d->fresh - LINES));
	buf_addf(out, "\r\n%llu are kept in all.\r\n\r\n", (unsigned long long)(d->all - d->removed));
}

/* Replies, notices and reports on success leave no letter: what they would have told of was delivered, or is still in the queue. */
static uint64_t withheld_besides(const struct queue *q)
{
	const struct report_counts *c = report_gate_counts(q->gate);
	return c->withheld[REPORT_REPLY] + c->withheld[REPORT_DELAY] + c->withheld[REPORT_SUCCESS];
}

static void write_withheld(struct buf *out, uint64_t count)
{
	buf_addf(out, "The gate also withheld %llu automatic replies, delay notices and reports on success. Nothing is kept of them: the\r\n"
	              "messages were delivered, or wait in the queue. The log has each one (report-withheld).\r\n\r\n", (unsigned long long)count);
}

/* What the last day brought; on a quiet one nothing is sent. */
static void send_digest(struct digest *d)
{
	struct queue *q = d->queue;
	struct attack_report *r = MEM_NEW(struct attack_report);
	uint64_t withheld = withheld_besides(q) - q->digest_withheld;
	struct buf text = BUF_INIT(MAX_DIGEST);
	if (q->attacks)
		attacks_read(q->attacks, d->since_s, d->now_s, r);
	if (d->fresh)
		write_dead(&text, d);
	if (r->attempts)
		write_attacks(&text, r);
	if (withheld)
		write_withheld(&text, withheld);
	struct slice subject = d->fresh ? SLICE("Dead letters and attacks of the last day") : r->attempts ? SLICE("Attacks of the last day") : SLICE("Reports withheld on the last day");
	if (text.n)
		own_mail_send(q, &(struct own_mail){ slice_of(q->postmaster_text), subject, buf_slice(&text), SLICE("a digest of ours") });
	buf_free(&text);
	mem_free(r);
}

static void looked(void *arg)
{
	struct digest *d = arg;
	struct queue *q = d->queue;
	if (d->removed)
		log_event(LOG_INFO, "dead-letters-expired", LOG_UINT("messages", d->removed), LOG_END);
	if (d->wanted && !q->draining)
		send_digest(d);
	if (d->daily)
		q->digest_withheld = withheld_besides(q);
	buf_free(&d->lines);
	mem_free(d);
	queue_end(q);
}

static void begin(struct queue *q, int64_t now, bool daily)
{
	struct digest *d = MEM_NEW(struct digest);
	*d = (struct digest){ .queue = q, .since_s = now - DAY_S, .now_s = now, .daily = daily, .wanted = !daily || queue_settings.digest, .lines = BUF_INIT(MAX_DIGEST / 2), .raw = BUF_INIT(MAX_RAW), .mem = ARENA_INIT(MAX_MEMORY) };
	queue_begin(q);
	worker_add(q->files, look, looked, d);
}

void dead_letter_daily(struct queue *q)
{
	int64_t now = clock_wall_s();
	if (now / DAY_S == q->digest_day || q->draining)
		return;
	q->digest_day = now / DAY_S;
	begin(q, now, true);
}

void dead_letter_digest(struct queue *q)
{
	begin(q, clock_wall_s(), false);
}
