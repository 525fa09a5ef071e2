/* The queue's jobs for mailboxes: read, one transaction after the other, one result. */
#include "delivery/mailbox_job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/mailbox_proto.h"
#include "delivery/mailbox_status.h"
#include "delivery/mailbox_transaction.h"
#include "queue/job_proto.h"

enum { MAX_JOB = 4 << 20, MAX_RESULT = 2 << 20, PIECE = 128 << 10, MAX_PATH_FIELD = 2048 };

#define NOT_HERE MAIL_STATUS(MAIL_LATER, 451, 3, 5, "This place is not served by the mailbox process")

struct run {
	struct mailbox_jobs *jobs;
	uint64_t id;
	int fd, pen;                     /* the spool's file; a pen to write into */
	struct buf payload, content;     /* LF, Return-Path in front */
	struct arena mem;
	struct job job;
	struct job_recipient_result *results;
	size_t result_count;
	size_t next;                     /* first job_recipient of the recipient that is being served */
	struct mailbox_leaf *leaves;
	size_t leaf_count;
	struct transaction *transaction;
	uint64_t pen_length;
	unsigned number;
	int error;
	struct run *next_run, **link;
};

struct mailbox_jobs {
	struct transaction_house *house;
	struct ipc *channel;             /* NULL: gone; lives until its last run ended */
	struct run *runs;
	void (*gone)(void *arg, struct mailbox_jobs *j);
	void *arg;
	bool closing;
};

static void serve_next(struct run *r);

static void jobs_release(struct mailbox_jobs *j)
{
	if (!j->channel && !j->runs)
		mem_free(j);
}

static void run_end(struct run *r)
{
	struct mailbox_jobs *j = r->jobs;
	struct job_result result = { .recipients = r->results, .recipient_count = r->result_count };
	struct buf b = BUF_INIT(MAX_RESULT);
	if (j->channel && job_put_result(&b, &result) == 0)
		ipc_send(j->channel, JOB_RESULT, r->id, buf_slice(&b), -1);
	buf_free(&b);
	file_close(&r->fd);
	file_close(&r->pen);
	buf_free(&r->payload);
	buf_free(&r->content);
	arena_free(&r->mem);
	*r->link = r->next_run;
	if (r->next_run)
		r->next_run->link = r->link;
	mem_free(r);
	jobs_release(j);
}

/* One recipient's outcome. */
static void tell(struct run *r, struct mail_status status)
{
	uint32_t index = r->job.recipients[r->next].index;
	r->results[r->result_count++] = (struct job_recipient_result){ .index = index, .status = mail_status_copy(&r->mem, status), .host = SLICE("mailbox") };
	while (r->next < r->job.recipient_count && r->job.recipients[r->next].index == index)
		r->next++;
	r->transaction = NULL;
	file_close(&r->pen);
	serve_next(r);
}

/* Content ---------------------------------------------------------------------------------------------------------------------------- */

static void add_lf(struct buf *out, struct slice s, bool *cr)
{
	for (size_t i = 0; i < s.n; i++) {
		if (*cr && s.p[i] != '\n')
			buf_add_byte(out, '\r');
		*cr = s.p[i] == '\r';
		if (!*cr)
			buf_add_byte(out, s.p[i]);
	}
}

static void add_return_path(struct buf *out, const struct job *j)
{
	buf_addf(out, "Return-Path: <%.*s>\n", SLICE_FMT(j->reverse_path));
}

/* The whole file, in pieces: into memory, or into the pen. */
static void read_content(void *arg)
{
	struct run *r = arg;
	char piece[16384];
	struct buf out = BUF_INIT(PIECE);
	bool cr = false;
	uint64_t at = 0;
	add_return_path(&out, &r->job);
	while (!r->error && at < r->job.content_length) {
		uint64_t left = r->job.content_length - at;
		ssize_t n = pread(r->fd, piece, left < sizeof piece ? (size_t)left : sizeof piece, (off_t)(r->job.content_offset + at));
		if (n <= 0) {
			r->error = n < 0 ? -errno : -EBADMSG;
			break;
		}
		at += (uint64_t)n;
		add_lf(&out, slice(piece, (size_t)n), &cr);
		if (r->pen >= 0 && out.n > PIECE / 2) {
			r->error = file_write(r->pen, buf_slice(&out));
			r->pen_length += out.n;
			buf_clear(&out);
		}
	}
	if (!r->error && r->pen >= 0) {
		r->error = file_write(r->pen, buf_slice(&out));
		r->pen_length += out.n;
	} else if (!r->error) {
		buf_clear(&r->content);
		r->error = buf_add(&r->content, buf_slice(&out));
	}
	buf_free(&out);
}

static bool is_small(const struct run *r)
{
	return r->job.content_length + MAX_PATH_FIELD < MAILBOX_MAX_INLINE;
}

static void deliver(void *arg)
{
	struct run *r = arg;
	if (r->error) {
		struct transaction *t = r->transaction;
		if (t)
			mailbox_transaction_abort(t);
		return tell(r, mailbox_status_of(r->error));
	}
	struct mailbox_deliver question = { .transaction = mailbox_transaction_id(r->transaction), .reverse_path = r->job.reverse_path, .from_pen = r->pen >= 0,
		                            .pen_length = r->pen_length, .content = buf_slice(&r->content), .leaves = r->leaves, .leaf_count = r->leaf_count };
	if (question.from_pen)
		question.content = SLICE_NONE;
	if (mailbox_transaction_deliver(r->transaction, 0, &question) < 0) {
		mailbox_transaction_abort(r->transaction);
		tell(r, NOT_HERE);
	}
}

/* What the transaction says -------------------------------------------------------------------------------------------------------------- */

static void on_pen_ready(void *arg, uint64_t question, const struct mail_status *status, int fd)
{
	struct run *r = arg;
	(void)question;
	if (status->fate != MAIL_OK || file_dup(fd, &r->pen) < 0) {
		struct mail_status s = status->fate == MAIL_OK ? mailbox_status_of(-EMFILE) : *status;
		mailbox_transaction_abort(r->transaction);
		return tell(r, s);
	}
	r->pen_length = 0;
	worker_add(r->jobs->house->slow, read_content, deliver, r);
}

static void on_delivered(void *arg, uint64_t question, const struct mailbox_delivered *d)
{
	struct run *r = arg;
	(void)question;
	tell(r, d->status);
}

static void on_over(void *arg, struct transaction *t)
{
	(void)arg, (void)t;
}

static const struct transaction_owner owner = { on_pen_ready, on_delivered, on_over };

/* One recipient after the other ------------------------------------------------------------------------------------------------------------ */

/* The next recipient's leaves stand together. */
static size_t count_leaves(const struct run *r)
{
	size_t i = r->next;
	while (i < r->job.recipient_count && r->job.recipients[i].index == r->job.recipients[r->next].index)
		i++;
	return i - r->next;
}

static bool make_leaves(struct run *r)
{
	size_t count = count_leaves(r);
	r->leaves = ARENA_ARRAY(&r->mem, struct mailbox_leaf, count);
	r->leaf_count = 0;
	for (size_t i = r->next; r->leaves && i < r->next + count; i++) {
		const struct job_recipient *from = &r->job.recipients[i];
		if (from->leaf_kind == LEAF_HOP || from->leaf_kind == LEAF_LMTP || from->leaf_kind > LEAF_HOP)
			return false;
		r->leaves[r->leaf_count++] = (struct mailbox_leaf){ (enum leaf_kind)from->leaf_kind, from->leaf_place, from->address, from->quota_bytes, from->quota_messages };
	}
	return r->leaf_count > 0 && r->leaf_count <= RESOLVE_MAX_LEAVES;
}

static void serve_next(struct run *r)
{
	char id[MAILBOX_MAX_TRANSACTION + 1];
	if (r->next == r->job.recipient_count)
		return run_end(r);
	if (!make_leaves(r))
		return tell(r, NOT_HERE);
	snprintf(id, sizeof id, "%.*s-%u", (int)(r->job.id.n < 16 ? r->job.id.n : 16), r->job.id.p, r->number++);
	r->transaction = mailbox_transaction_new(r->jobs->house, slice_of(id), &owner, r);
	r->error = 0;
	if (is_small(r)) {
		if (r->content.n)
			deliver(r);
		else
			worker_add(r->jobs->house->slow, read_content, deliver, r);
		return;
	}
	struct mailbox_pen pen = { mailbox_transaction_id(r->transaction), r->leaves[0], r->job.content_length };
	if (mailbox_transaction_pen(r->transaction, 0, &pen) < 0) {
		mailbox_transaction_abort(r->transaction);
		tell(r, NOT_HERE);
	}
}

static int start(struct mailbox_jobs *j, struct ipc_message *m)
{
	struct run *r = MEM_NEW(struct run);
	*r = (struct run){ .jobs = j, .id = m->id, .fd = m->fd, .pen = -1, .payload = BUF_INIT(MAX_JOB + 64), .content = BUF_INIT(MAILBOX_MAX_INLINE), .mem = ARENA_INIT(16 << 20) };
	m->fd = -1;
	r->next_run = j->runs;
	if (r->next_run)
		r->next_run->link = &r->next_run;
	r->link = &j->runs;
	j->runs = r;
	buf_add(&r->payload, m->payload);
	int error = r->fd < 0 ? -EPROTO : job_get(buf_slice(&r->payload), &r->mem, &r->job);
	r->results = error ? NULL : ARENA_ARRAY(&r->mem, struct job_recipient_result, r->job.recipient_count);
	if (error || !r->results) {
		*r->link = r->next_run;
		if (r->next_run)
			r->next_run->link = r->link;
		file_close(&r->fd);
		buf_free(&r->payload);
		arena_free(&r->mem);
		mem_free(r);
		return -EPROTO;
	}
	serve_next(r);
	return 0;
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	(void)from;
	if (m->type == JOB_START)
		return start(arg, m);
	return m->type == JOB_CANCEL ? 0 : -EPROTO;
}

static void on_close(void *arg, struct ipc *which)
{
	struct mailbox_jobs *j = arg;
	ipc_free(which);
	j->channel = NULL;
	if (!j->closing && j->gone)
		j->gone(j->arg, j);
	jobs_release(j);
}

static const struct ipc_handler handler = { on_message, on_close };

struct mailbox_jobs *mailbox_jobs_new(struct transaction_house *house, int fd, void (*gone)(void *arg, struct mailbox_jobs *j), void *arg)
{
	struct mailbox_jobs *j = MEM_NEW(struct mailbox_jobs);
	j->house = house;
	j->gone = gone;
	j->arg = arg;
	j->channel = ipc_new(house->loop, fd, &handler, j);
	return j;
}

void mailbox_jobs_free(struct mailbox_jobs *j)
{
	if (!j)
		return;
	j->closing = true;
	if (j->channel)
		ipc_free(j->channel);
	j->channel = NULL;
	jobs_release(j);
}
