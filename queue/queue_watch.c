/* What the queue looks at once a second: the disk, the clock, the gate's memory, folders that others put something into. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "queue/feedback.h"
#include "queue/queue_inside.h"
#include "queue/queue_settings.h"

enum { SECOND_MS = 1000, STATE_STEP = 1 << 20, MARK_S = 60, DAY_MS = 86400 * 1000, GATE_MAX = 4 << 20 };

/* -- once a second ---------------------------------------------------------------------------------------------------------------------------- */

/* What the clock said when a queue ran here last, by the minute: the time of the file "clock". One that has gone on for more than a day without us may have been
 * set while nobody looked, and is taken for that; one that has gone back was. */
static const char mark[] = "clock";

static void mark_clock(int spool)
{
	int fd = -1;
	struct timespec now = { .tv_sec = clock_wall_s() };
	if (file_open(spool, mark, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, &fd) == 0)
		futimens(fd, (struct timespec[2]){ now, now });
	file_close(&fd);
}

void queue_look_at_disk(void *arg)
{
	struct queue *q = arg;
	struct statvfs v;
	if (q->marking)
		mark_clock(q->setup.spool);
	if (file_stat_store(q->setup.spool, &v))
		return;
	uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	q->looked = (struct queue_state){
		.free_bytes = free_bytes > queue_settings.reserve ? free_bytes - queue_settings.reserve : 0,
		.read_only = (v.f_flag & ST_RDONLY) != 0, .full = v.f_favail < 16 && v.f_files
	};
}

static void looked_at_disk(void *arg)
{
	struct queue *q = arg;
	struct queue_state *s = &q->looked, *told = &q->told_state;
	struct schedule_counts c;
	schedule_count(q->schedule, &c);
	q->looking = false;
	s->full = s->full || (queue_settings.most_messages && c.messages >= queue_settings.most_messages);
	s->clock_doubt = !clock_watch_believes(&q->clock);
	q->state = *s;
	uint64_t step = s->free_bytes > told->free_bytes ? s->free_bytes - told->free_bytes : told->free_bytes - s->free_bytes;
	if (step < STATE_STEP && !s->free_bytes == !told->free_bytes && s->read_only == told->read_only && s->full == told->full && s->clock_doubt == told->clock_doubt)
		return;
	*told = *s;
	for (struct peer *p = q->peers; p; p = p->next)
		if (p->kind == PEER_ASKER) {
			struct buf record = BUF_INIT(256);
			queue_put_state(&record, s);
			peer_send(p, QUEUE_STATE, 0, &record, -1);
		}
}

static bool bring_near(void *arg, struct message *m)
{
	struct queue *q = arg;
	int64_t latest = clock_wall_s() + (int64_t)queue_settings.retry_most_s;
	for (struct item *i = message_items(m); i; i = i->next)
		if (i->state == ITEM_WAITING && (int64_t)i->node.key > latest)
			schedule_retry(q->schedule, i, latest);
	return true;
}

/* Set back: nothing may wait for a time that will not come soon. Set forward: nothing expires by it until it has stood for an hour. */
static void watch_clock(struct queue *q)
{
	int64_t leap = clock_watch_leap(&q->clock);
	if (!leap)
		return;
	queue_alert(q, "The clock was set %s by %lld s", leap < 0 ? "back" : "forward", (long long)(leap < 0 ? -leap : leap) / 1000);
	if (leap <= -DAY_MS || leap >= DAY_MS)
		ledger_doubt_sent(q->ledger); /* it has become older or younger than it is */
	if (leap < 0)
		schedule_each(q->schedule, bring_near, q);
	queue_wake(q);
}

/* A second may pass before it is looked at, so whoever is about to act by it looks. */
bool queue_believes_clock(struct queue *q)
{
	watch_clock(q);
	return clock_watch_believes(&q->clock);
}

void queue_read_clock(struct queue *q)
{
	struct stat st;
	if (file_stat_at(q->setup.spool, mark, &st))
		return; /* the first start */
	int64_t gone_ms = (clock_wall_s() - (int64_t)st.st_mtim.tv_sec) * 1000;
	if (gone_ms > DAY_MS) {
		queue_alert(q, "The queue was away for %lld s by the clock: if that is wrong, set it within the hour; until then nothing ends by its time", (long long)gone_ms / 1000);
		clock_watch_doubt(&q->clock);
	}
	if (gone_ms > DAY_MS || gone_ms < -DAY_MS)
		ledger_doubt_sent(q->ledger);
}

/* What a crash loses of it is a second, so it is not synced; renaming over the older one may wait for the disk all the same. */
static void write_gate(void *arg)
{
	struct queue *q = arg;
	int fd = -1;
	if (file_open(q->setup.spool, "gate.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd))
		return;
	if (file_write(fd, buf_slice(&q->gate_record)) == 0)
		file_rename(q->setup.spool, "gate.new", q->setup.spool, "gate");
	file_close(&fd);
}

static void gate_written(void *arg)
{
	struct queue *q = arg;
	buf_free(&q->gate_record);
	q->gate_busy = false;
}

static void record_gate(struct queue *q)
{
	q->gate_dirty = false;
	buf_init(&q->gate_record, GATE_MAX);
	if (report_gate_save(q->gate, &q->gate_record))
		buf_clear(&q->gate_record);
}

static void save_gate(struct queue *q)
{
	if (!q->gate_dirty || q->gate_busy)
		return;
	record_gate(q);
	q->gate_busy = q->gate_record.n > 0;
	if (q->gate_busy)
		worker_add(q->files, write_gate, gate_written, q);
}

void queue_save_gate(struct queue *q)
{
	if (!q->gate_dirty)
		return;
	record_gate(q);
	if (q->gate_record.n)
		write_gate(q);
	buf_free(&q->gate_record);
}

void queue_load_gate(struct queue *q)
{
	struct buf record = BUF_INIT(GATE_MAX);
	int fd = -1;
	if (file_open(q->setup.spool, "gate", O_RDONLY | O_NOFOLLOW, 0, &fd))
		return; /* the first start */
	char *to = buf_room(&record, GATE_MAX - 1);
	ssize_t n = read(fd, to, GATE_MAX - 1);
	buf_used(&record, n > 0 ? (size_t)n : 0);
	file_close(&fd);
	if (report_gate_load(q->gate, buf_slice(&record), clock_wall_s()))
		queue_alert(q, "The gate's memory was damaged: for a day senders with evidence spf get no reports");
	buf_free(&record);
}

void queue_on_second(void *arg)
{
	struct queue *q = arg;
	loop_timer_set(q->second, SECOND_MS);
	watch_clock(q);
	hints_tell(q);
	rolls_on_second(q);
	lookout_on_second(q);
	save_gate(q);
	reclaim_on_second(q);
	if (++q->seconds % 60 == 1) {
		drop_scan(q);
		vacation_look(q);
		dead_letter_daily(q);
		feedback_on_minute(q);
	}
	if (q->looking)
		return;
	q->looking = true;
	q->marking = q->seconds % MARK_S == 1 && clock_watch_believes(&q->clock); /* else a restart would forget the doubt */
	worker_add(q->files, queue_look_at_disk, looked_at_disk, q);
}
