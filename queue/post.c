/* Messages of ours (reports on success, automatic replies, digests) and those of local programs: addressed, stored, scheduled. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "maps/resolve.h"
#include "queue/queue_inside.h"

struct posting {
	struct queue *queue;
	struct buf record, content;      /* the envelope's strings lie in record */
	struct arena mem;
	struct envelope envelope;
	struct spool_put put;
	void (*done)(void *arg, int error);
	void *arg;
};

struct envelope_recipient queue_address(struct queue *q, struct slice address, struct arena *mem)
{
	struct envelope_recipient to = { .address = address, .place = ENVELOPE_PLACE_LOCAL, .way = WAY_FOREIGN, .notify = NOTIFY_NEVER };
	struct mail_path path;
	struct resolved r = { .class = RESOLVE_OURS };
	const char *why;
	if (q->maps && mail_path_parse_address(address, mem, &path, &why) == 0)
		resolve_path(q->maps, &path, false, mem, &r);
	if (r.count == 1 && r.leaves[0].kind == LEAF_HOP && !r.leaves[0].owner.n) {
		to.place = r.leaves[0].place;
		to.route = r.leaves[0].route;
		to.way = r.class == RESOLVE_FOREIGN ? WAY_FOREIGN : r.leaves[0].relayed ? WAY_RELAYED : WAY_FORWARD;
	}
	return to;
}

static void posting_free(struct posting *p, int error)
{
	struct queue *q = p->queue;
	if (p->done)
		p->done(p->arg, error);
	buf_free(&p->record);
	buf_free(&p->content);
	arena_free(&p->mem);
	mem_free(p);
	queue_end(q);
}

static void on_put(struct spool_put *put)
{
	struct posting *p = (struct posting *)((char *)put - offsetof(struct posting, put));
	int error = put->job.error;
	if (error)
		log_event(LOG_ERROR, "post-failed", LOG_STR("id", p->envelope.id), LOG_ERRNO(error), LOG_END);
	else
		queue_take_in(p->queue, &p->envelope);
	queue_wake(p->queue);
	posting_free(p, error);
}

void queue_post(struct queue *q, const struct envelope *e, struct buf *content, void (*done)(void *arg, int error), void *arg)
{
	struct posting *p = MEM_NEW(struct posting);
	*p = (struct posting){ .queue = q, .record = BUF_INIT(ENVELOPE_MAX), .content = *content, .mem = ARENA_INIT(64 << 20), .done = done, .arg = arg };
	memset(content, 0, sizeof *content);
	queue_begin(q);
	struct mail_status s = envelope_admit(e, false);
	int error = s.fate != MAIL_OK ? -EPERM : envelope_put(&p->record, e, false);
	error = error ? error : envelope_get(buf_slice(&p->record), &p->mem, &p->envelope);
	if (error)
		return posting_free(p, error);
	p->put = (struct spool_put){ .envelope = &p->envelope, .pen = PEN_NONE, .copy = -1, .content = buf_slice(&p->content), .done = on_put };
	spool_put(q->spool, &p->put, SYNCER_DELIVER);
}
