/* The asking half of a system user's mailbox: a channel to a process of that user, and the same questions that we are asked. A large message
 * goes over as a pen of its own, which is that user's file from the beginning. */
#include "delivery/system_parcel.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/ipc.h"
#include "base/mem.h"
#include "base/pen.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir.h"

enum { PATIENCE_MS = 60000, MAX_QUESTION = 16 << 10, MAX_ANSWER_MEMORY = 256 << 10, REST_MS = 2000, MAX_AGE_MS = 10000, MAX_RESTING = 16, MAX_USER = 64 };

/* A channel to a process of that user. */
struct line {
	struct transaction_house *house;
	struct ipc *channel;
	struct loop_timer *patience;  /* for an answer; while it rests, for the next question */
	void (*answered)(void *arg, const struct ipc_message *m); /* NULL: it is gone, or too late */
	void *arg;
	int fd;                       /* that came with the answer, during the call */
	struct line *next;            /* among those that rest */
	bool resting, used;           /* used: it was asked before */
	uint64_t born_ms;
	char user[MAX_USER];
};

static void line_close(struct line *l)
{
	if (!l)
		return;
	if (l->resting) {
		struct line **at = &l->house->resting;
		while (*at != l)
			at = &(*at)->next;
		*at = l->next;
		l->house->resting_count--;
	}
	ipc_free(l->channel);
	loop_timer_free(l->patience);
	mem_free(l);
}

static int line_heard(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct line *l = arg;
	(void)from;
	if (m->type == MAILBOX_STATE)
		return 0;
	if (l->resting || !loop_timer_is_set(l->patience))
		return -EPROTO;
	loop_timer_stop(l->patience);
	l->fd = m->fd;
	m->fd = -1;
	l->answered(l->arg, m);
	return 0;
}

static void line_lost(void *arg, struct ipc *which)
{
	struct line *l = arg;
	bool waiting = loop_timer_is_set(l->patience);
	ipc_free(which);
	l->channel = NULL;
	loop_timer_stop(l->patience);
	if (l->resting)
		line_close(l);
	else if (waiting)
		l->answered(l->arg, NULL);
}

static void line_too_late(void *arg)
{
	struct line *l = arg;
	if (l->resting) {
		line_close(l);
		return;
	}
	ipc_free(l->channel);
	l->channel = NULL;
	l->answered(l->arg, NULL);
}

/* The process's exit code says nothing that the channel's end doesn't. */
static struct line *line_new(struct transaction_house *house, struct slice user, void (*answered)(void *, const struct ipc_message *), void *arg)
{
	static const struct ipc_handler handler = { line_heard, line_lost };
	struct line *l = MEM_NEW(struct line);
	int fds[2] = { -1, -1 };
	*l = (struct line){ .house = house, .answered = answered, .arg = arg, .fd = -1, .born_ms = clock_mono_ms() };
	memcpy(l->user, user.p, user.n < MAX_USER ? user.n : 0);
	l->patience = loop_timer_new(house->loop, line_too_late, l);
	if (ipc_pair(fds) == 0) {
		helper_begin(house, SLICE("system"), user, SLICE_NONE, NULL, 0, fds[1], NULL, NULL);
		l->channel = ipc_new(house->loop, fds[0], &handler, l);
	}
	file_close(&fds[1]);
	return l;
}

/* One of this user's that rests, or NULL. */
static struct line *line_wake(struct transaction_house *house, struct slice user, void (*answered)(void *, const struct ipc_message *), void *arg)
{
	struct line **at = &house->resting;
	while (*at && !slice_eq(slice_of((*at)->user), user))
		at = &(*at)->next;
	struct line *l = *at;
	if (!l)
		return NULL;
	*at = l->next;
	house->resting_count--;
	l->resting = false;
	l->answered = answered;
	l->arg = arg;
	loop_timer_stop(l->patience);
	return l;
}

/* Nobody needs it now. */
static void line_rest(struct line *l)
{
	struct transaction_house *house = l->house;
	if (!l->channel || !l->user[0] || house->resting_count >= MAX_RESTING || clock_mono_ms() - l->born_ms > MAX_AGE_MS) {
		line_close(l);
		return;
	}
	l->resting = l->used = true;
	l->next = house->resting;
	house->resting = l;
	house->resting_count++;
	loop_timer_set(l->patience, REST_MS);
}

void system_forget_all(struct transaction_house *house)
{
	while (house->resting)
		line_close(house->resting);
}

/* Once asked, `answered` comes: with an answer, or with NULL. */
static void line_ask(struct line *l, uint16_t type, struct slice question)
{
	loop_timer_set(l->patience, l->channel ? PATIENCE_MS : 0);
	if (l->channel)
		ipc_send(l->channel, type, 1, question, -1);
}

/* ---- the question at RCPT ---- */

struct system_question {
	struct transaction_house *house;
	struct line *line;
	struct buf record;
	struct slice user;
	struct arena mem;
	void (*answered)(void *arg, const struct mailbox_asked *a);
	void *arg;
};

static void on_asked(void *arg, const struct ipc_message *m);

/* One that rested may have ended meanwhile: a question changes nothing, so a fresh one is asked. */
static bool ask_afresh(struct system_question *q)
{
	if (!q->line->used)
		return false;
	line_close(q->line);
	q->line = line_new(q->house, q->user, on_asked, q);
	line_ask(q->line, MAILBOX_ASK, buf_slice(&q->record));
	return true;
}

static void on_asked(void *arg, const struct ipc_message *m)
{
	struct system_question *q = arg;
	struct arena mem = ARENA_INIT(MAX_ANSWER_MEMORY);
	struct mailbox_asked answer;
	file_close(&q->line->fd);
	if (!m && ask_afresh(q))
		return;
	bool good = m && m->type == MAILBOX_ASKED && mailbox_get_asked(m->payload, &mem, &answer) == 0;
	if (!good)
		answer = (struct mailbox_asked){ .status = mailbox_status_of(-ENOENT) };
	q->answered(q->arg, &answer);
	arena_free(&mem);
	if (good)
		line_rest(q->line);
	else
		line_close(q->line);
	buf_free(&q->record);
	arena_free(&q->mem);
	mem_free(q);
}

void system_ask(struct transaction_house *house, const struct mailbox_ask *question, void (*answered)(void *arg, const struct mailbox_asked *a), void *arg)
{
	struct system_question *q = MEM_NEW(struct system_question);
	*q = (struct system_question){ .house = house, .answered = answered, .arg = arg };
	buf_init(&q->record, MAX_QUESTION);
	q->user = arena_copy(&q->mem, question->leaf.place);
	q->line = line_wake(house, q->user, on_asked, q);
	if (!q->line)
		q->line = line_new(house, q->user, on_asked, q);
	mailbox_put_ask(&q->record, question);
	line_ask(q->line, MAILBOX_ASK, buf_slice(&q->record));
}

/* ---- the delivery ---- */

struct system_parcel {
	struct parcel base;
	struct line *line;            /* NULL before the first question, and when all is undone */
	struct transaction_house *house;
	enum parcel_step step;
	struct pen theirs;            /* the user's pen, while it is filled */
	int error;
	char name[MAILDIR_MAX_NAME];
};

static void fail(struct system_parcel *p)
{
	parcel_answer(&p->base, mailbox_status_of(-ENOENT));
}

static void ask_delivery(struct system_parcel *p)
{
	const struct parcel_content *c = p->base.content;
	struct mailbox_leaf leaf = *p->base.leaves[0];
	struct mailbox_deliver m = { .transaction = c->transaction, .reverse_path = c->reverse_path, .hold = p->step == PARCEL_PREPARE,
		                     .from_pen = c->pen != NULL, .pen_length = c->length, .content = c->bytes, .leaves = &leaf, .leaf_count = 1 };
	struct buf question = BUF_INIT(MAX_QUESTION + MAILBOX_MAX_INLINE);
	mailbox_put_deliver(&question, &m);
	if (!m.from_pen)
		buf_add(&question, c->bytes);
	line_ask(p->line, MAILBOX_DELIVER, buf_slice(&question));
	buf_free(&question);
}

static void ask_pen(struct system_parcel *p)
{
	struct mailbox_pen m = { p->base.content->transaction, *p->base.leaves[0], p->base.content->length };
	struct buf question = BUF_INIT(MAX_QUESTION);
	mailbox_put_pen(&question, &m);
	line_ask(p->line, MAILBOX_PEN, buf_slice(&question));
	buf_free(&question);
}

static void ask_commit(struct system_parcel *p)
{
	struct buf question = BUF_INIT(MAX_QUESTION);
	mailbox_put_transaction(&question, p->base.content->transaction);
	line_ask(p->line, MAILBOX_COMMIT, buf_slice(&question));
	buf_free(&question);
}

static void fill_pen(void *arg)
{
	struct system_parcel *p = arg;
	p->error = pen_copy(&p->theirs, p->base.content->pen, p->base.content->length);
}

static void filled(void *arg)
{
	struct system_parcel *p = arg;
	pen_drop(&p->theirs);
	if (p->error)
		parcel_answer(&p->base, mailbox_status_of(p->error));
	else
		ask_delivery(p);
}

static void on_pen(struct system_parcel *p, struct slice payload)
{
	struct mail_status status;
	p->theirs.fd = p->line->fd;
	p->line->fd = -1;
	if (mailbox_get_status(payload, &status) < 0)
		fail(p);
	else if (status.fate != MAIL_OK || p->theirs.fd < 0)
		parcel_answer(&p->base, status.fate != MAIL_OK ? status : mailbox_status_of(-EIO));
	else
		worker_add(p->house->slow, fill_pen, filled, p);
}

/* The texts of a process that a user controls are not for strangers: what it says becomes one of our own words. */
static struct mail_status own_words(struct mail_status s)
{
	if (s.fate == MAIL_OK)
		return MAIL_STATUS_OK;
	return mailbox_status_of(s.code == 452 ? (s.enhanced[0] == 2 ? -EDQUOT : -ENOSPC) : -ENOENT);
}

static void on_delivered(struct system_parcel *p, struct slice payload)
{
	struct arena mem = ARENA_INIT(MAX_ANSWER_MEMORY);
	struct mailbox_delivered d;
	if (mailbox_get_delivered(payload, &mem, &d) < 0 || d.leaf_count != 1) {
		arena_free(&mem);
		fail(p);
		return;
	}
	size_t n = d.leaves[0].name.n < sizeof p->name ? d.leaves[0].name.n : 0;
	memcpy(p->name, n ? d.leaves[0].name.p : "", n);
	p->base.results[0]->name = slice(p->name, n);
	struct mail_status status = own_words(d.status);
	arena_free(&mem);
	parcel_answer(&p->base, status);
}

/* The last thing that is done with p: its answer may end it. */
static void on_answer(void *arg, const struct ipc_message *m)
{
	struct system_parcel *p = arg;
	if (m && m->type == MAILBOX_PEN_READY) {
		on_pen(p, m->payload);
		return;
	}
	file_close(&p->line->fd);
	if (m && m->type == MAILBOX_DELIVERED)
		on_delivered(p, m->payload);
	else
		fail(p);
}

static void undone(void *arg)
{
	parcel_answer(arg, MAIL_STATUS_OK);
}

static void start(struct parcel *base, enum parcel_step step)
{
	struct system_parcel *p = (struct system_parcel *)base;
	p->step = step;
	switch (step) {
	case PARCEL_PREPARE:
	case PARCEL_DELIVER:
		p->line = line_new(p->house, base->leaves[0]->place, on_answer, p);
		if (base->content->pen)
			ask_pen(p);
		else
			ask_delivery(p);
		return;
	case PARCEL_COMMIT:
		ask_commit(p);
		return;
	case PARCEL_UNDO: /* a lost channel aborts what is held */
		line_close(p->line);
		p->line = NULL;
		loop_later(p->house->loop, undone, base);
		return;
	}
}

static void free_parcel(struct parcel *base)
{
	struct system_parcel *p = (struct system_parcel *)base;
	line_close(p->line);
	pen_drop(&p->theirs);
	mem_free(base->leaves);
	mem_free(base->results);
	mem_free(p);
}

static const struct parcel_kind system_kind = { start, free_parcel, false };

struct parcel *system_parcel_new(struct transaction_house *house, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                                 struct mailbox_leaf_result *result)
{
	struct system_parcel *p = MEM_NEW(struct system_parcel);
	parcel_init(&p->base, &system_kind, content, leaf, result);
	p->house = house;
	p->theirs = PEN_NONE;
	return &p->base;
}
