/* The mailbox process: peers and their questions. A peer has a table of its transactions; when it goes, they are orphans. A question at
 * RCPT is a job of the mailbox's file system like any other, between two syncs. */
#include "delivery/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/mailbox_ask.h"
#include "delivery/mailbox_job.h"
#include "delivery/mailbox_proto.h"
#include "delivery/mailbox_status.h"
#include "delivery/mailbox_transaction.h"
#include "delivery/maildir_sweep.h"
#include "delivery/system_parcel.h"

enum { BUCKETS = 1024, STATE_MS = 1000, STATE_STEP = 1 << 20, MAX_DELIVER_MEMORY = 4 << 20, MAX_REPLY = 2 << 20, SLOW_THREADS = 4 };

struct entry {
	struct entry *next;
	struct peer *peer;
	struct transaction *transaction;
};

struct peer {
	struct mailbox *mailbox;
	struct ipc *ipc;              /* NULL: gone; the peer lives until its last transaction and question are over */
	struct peer *next, **link;
	struct entry *buckets[BUCKETS];
	size_t open;                  /* transactions and questions */
};

struct mailbox {
	struct loop *loop;
	struct mailbox_stores stores;
	struct transaction_house house;
	struct hash_key key;
	struct peer *peers;
	struct loop_timer *timer;
	struct syncer_job state_job;
	struct mailbox_state state, sent;
	bool looking;
	void (*on_idle)(void *arg);
	void *arg;
	struct worker *slow;          /* for what waits for others' locks */
	struct worker *sweeper;       /* NULL: nothing to sweep */
	struct mailbox_jobs *jobs;    /* of the queue; NULL: none */
};

static void send_record(struct peer *p, uint16_t type, uint64_t question, struct buf *record, int fd)
{
	if (p->ipc)
		ipc_send(p->ipc, type, question, buf_slice(record), fd);
	buf_free(record);
}

/* ---- the life of a peer ---- */

static void peer_unlink(struct peer *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	struct mailbox *m = p->mailbox;
	mem_free(p);
	if (m->peers == NULL && m->on_idle)
		m->on_idle(m->arg);
}

static void peer_release(struct peer *p)
{
	p->open--;
	if (p->open == 0 && p->ipc == NULL)
		peer_unlink(p);
}

static struct entry **find_entry(struct peer *p, struct slice id)
{
	struct entry **at = &p->buckets[hash_bytes(&p->mailbox->key, id) % BUCKETS];
	while (*at && !slice_eq(mailbox_transaction_id((*at)->transaction), id))
		at = &(*at)->next;
	return at;
}

static void on_pen_ready(void *arg, uint64_t question, const struct mail_status *status, int fd)
{
	struct entry *e = arg;
	struct buf record = BUF_INIT(MAX_REPLY);
	mailbox_put_status(&record, status);
	send_record(e->peer, MAILBOX_PEN_READY, question, &record, status->fate == MAIL_OK ? fd : -1);
}

static void on_delivered(void *arg, uint64_t question, const struct mailbox_delivered *d)
{
	struct entry *e = arg;
	struct buf record = BUF_INIT(MAX_REPLY);
	mailbox_put_delivered(&record, d);
	send_record(e->peer, MAILBOX_DELIVERED, question, &record, -1);
}

static void on_over(void *arg, struct transaction *t)
{
	struct entry *e = arg;
	struct peer *p = e->peer;
	struct entry **at = find_entry(p, mailbox_transaction_id(t));
	assert(*at == e);
	*at = e->next;
	mem_free(e);
	peer_release(p);
}

static const struct transaction_owner owner = { on_pen_ready, on_delivered, on_over };

static struct transaction *find_transaction(struct peer *p, struct slice id)
{
	struct entry *e = *find_entry(p, id);
	return e ? e->transaction : NULL;
}

static struct transaction *need_transaction(struct peer *p, struct slice id)
{
	struct entry **at = find_entry(p, id);
	if (*at)
		return (*at)->transaction;
	struct entry *e = MEM_NEW(struct entry);
	e->peer = p;
	e->transaction = mailbox_transaction_new(&p->mailbox->house, id, &owner, e);
	*at = e;
	p->open++;
	return e->transaction;
}

/* Some end at once and take their entry along: each bucket is begun anew after one. */
static void orphan_all(struct peer *p)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct entry *e = p->buckets[i], *next;
		for (; e; e = next) {
			next = e->next;
			mailbox_transaction_orphan(e->transaction);
		}
	}
}

static void on_close(void *arg, struct ipc *which)
{
	struct peer *p = arg;
	ipc_free(which);
	p->ipc = NULL;
	p->open++;
	orphan_all(p);
	peer_release(p);
}

/* ---- questions ---- */

static void on_asked(void *arg, uint64_t question, const struct mailbox_asked *answer)
{
	struct peer *p = arg;
	struct buf record = BUF_INIT(MAX_REPLY);
	mailbox_put_asked(&record, answer);
	send_record(p, MAILBOX_ASKED, question, &record, -1);
	peer_release(p);
}

/* Of whoever: one that is gone may have left it under way. */
static bool is_under_way(const struct mailbox *m, struct slice id)
{
	for (struct peer *p = m->peers; p; p = p->next)
		if (find_transaction(p, id))
			return true;
	return false;
}

static int on_ask(struct peer *p, const struct ipc_message *m)
{
	struct mailbox_ask question;
	if (mailbox_get_ask(m->payload, &question) < 0)
		return -EPROTO;
	p->open++;
	if (question.find.n && is_under_way(p->mailbox, question.find)) {
		on_asked(p, m->id, &(struct mailbox_asked){ .status = mailbox_status_of(-EBUSY) });
		return 0;
	}
	mailbox_ask_start(&p->mailbox->house, &question, on_asked, p, m->id);
	return 0;
}

static int on_pen(struct peer *p, const struct ipc_message *m)
{
	struct mailbox_pen question;
	if (mailbox_get_pen(m->payload, &question) < 0)
		return -EPROTO;
	return mailbox_transaction_pen(need_transaction(p, question.transaction), m->id, &question);
}

static int on_deliver(struct peer *p, const struct ipc_message *m)
{
	struct arena mem = ARENA_INIT(MAX_DELIVER_MEMORY);
	struct mailbox_deliver question;
	int error = mailbox_get_deliver(m->payload, &mem, &question);
	if (error == 0)
		error = mailbox_transaction_deliver(need_transaction(p, question.transaction), m->id, &question);
	arena_free(&mem);
	return error;
}

/* One that we don't know was lost with a process of ours before this one: nothing of it was kept. */
static int on_commit(struct peer *p, const struct ipc_message *m)
{
	struct slice id;
	if (mailbox_get_transaction(m->payload, &id) < 0)
		return -EPROTO;
	struct transaction *t = find_transaction(p, id);
	if (t)
		return mailbox_transaction_commit(t, m->id);
	struct mailbox_delivered d = { MAIL_STATUS_UNSURE("The mailbox process was restarted, try again later"), NULL, 0 };
	struct buf record = BUF_INIT(MAX_REPLY);
	mailbox_put_delivered(&record, &d);
	send_record(p, MAILBOX_DELIVERED, m->id, &record, -1);
	return 0;
}

static int on_abort(struct peer *p, const struct ipc_message *m)
{
	struct slice id;
	if (mailbox_get_transaction(m->payload, &id) < 0)
		return -EPROTO;
	struct transaction *t = find_transaction(p, id);
	if (t)
		mailbox_transaction_abort(t);
	return 0;
}

static int on_message(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct peer *p = arg;
	(void)from;
	switch (m->type) {
	case MAILBOX_ASK: return on_ask(p, m);
	case MAILBOX_PEN: return on_pen(p, m);
	case MAILBOX_DELIVER: return on_deliver(p, m);
	case MAILBOX_COMMIT: return on_commit(p, m);
	case MAILBOX_ABORT: return on_abort(p, m);
	default: return -EPROTO;
	}
}

static const struct ipc_handler handler = { on_message, on_close };

/* ---- the state of the mail root's file system ---- */

static void send_state(struct peer *p)
{
	struct buf record = BUF_INIT(MAX_REPLY);
	mailbox_put_state(&record, &p->mailbox->state);
	send_record(p, MAILBOX_STATE, 0, &record, -1);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static int look_at_state(struct syncer_job *j)
{
	struct mailbox *m = (struct mailbox *)((char *)j - offsetof(struct mailbox, state_job));
	return store_state(&m->stores.all[0].store, m->house.reserve, &m->state);
}

static void tell_state(struct syncer_job *j)
{
	struct mailbox *m = (struct mailbox *)((char *)j - offsetof(struct mailbox, state_job));
	bool changed = distance(m->state.free_bytes, m->sent.free_bytes) >= STATE_STEP || m->state.read_only != m->sent.read_only ||
	               (m->state.free_inodes == 0) != (m->sent.free_inodes == 0);
	m->looking = false;
	if (j->error || !changed)
		return;
	m->sent = m->state;
	for (struct peer *p = m->peers; p; p = p->next)
		send_state(p);
}

static const struct syncer_verbs state_verbs = { .write = look_at_state, .done = tell_state };

static void on_second(void *arg)
{
	struct mailbox *m = arg;
	loop_timer_set(m->timer, STATE_MS);
	if (m->looking)
		return;
	m->looking = true;
	m->state_job = (struct syncer_job){ .verbs = &state_verbs, .goal = SYNCER_RUN };
	syncer_add(m->stores.all[0].syncer, &m->state_job);
}

/* ---- leftovers of a crash ---- */

static void sweep(void *arg)
{
	struct mailbox *m = arg;
	maildir_sweep(m->stores.root, m->house.host);
}

static void swept(void *arg)
{
	(void)arg;
}

/* Unnamed files leave nothing; elsewhere a worker looks through all the tmp/ folders while we serve already. */
static void start_sweep(struct mailbox *m)
{
	if (m->stores.all[0].store.way == PEN_UNNAMED)
		return;
	m->sweeper = worker_new(m->loop, 1, "sweep");
	worker_add(m->sweeper, sweep, swept, m);
}

/* ---- the whole ---- */

int mailbox_new(struct loop *l, const struct mailbox_setup *setup, struct mailbox **out)
{
	struct mailbox *m = MEM_NEW(struct mailbox);
	int error = file_init();
	if (error == 0)
		error = mailbox_stores_open(&m->stores, l, setup->mail_root, setup->home);
	if (error == 0)
		error = store_state(&m->stores.all[0].store, setup->reserve, &m->state);
	if (error) {
		mailbox_stores_close(&m->stores);
		mem_free(m);
		return error;
	}
	m->loop = l;
	m->on_idle = setup->on_idle;
	m->arg = setup->arg;
	m->key = hash_key_random();
	m->slow = worker_new(l, SLOW_THREADS, "slow");
	m->house = (struct transaction_house){
		.loop = l, .stores = &m->stores, .slow = m->slow, .host = setup->host, .reserve = setup->reserve, .home = setup->home,
		.program_user = setup->program_user, .helpers = setup->helpers
	};
	m->sent = m->state;
	m->timer = loop_timer_new(l, on_second, m);
	loop_timer_set(m->timer, STATE_MS);
	start_sweep(m);
	*out = m;
	return 0;
}

static void on_jobs_gone(void *arg, struct mailbox_jobs *j)
{
	struct mailbox *m = arg;
	if (m->jobs == j)
		m->jobs = NULL;
}

void mailbox_add_queue(struct mailbox *m, int fd)
{
	mailbox_jobs_free(m->jobs);      /* a queue process that was started again */
	m->jobs = mailbox_jobs_new(&m->house, fd, on_jobs_gone, m);
}

void mailbox_add_peer(struct mailbox *m, int fd)
{
	struct peer *p = MEM_NEW(struct peer);
	p->mailbox = m;
	p->next = m->peers;
	p->link = &m->peers;
	if (p->next)
		p->next->link = &p->next;
	m->peers = p;
	p->ipc = ipc_new(m->loop, fd, &handler, p);
	send_state(p);
}

size_t mailbox_busy(const struct mailbox *m)
{
	size_t n = 0;
	for (const struct peer *p = m->peers; p; p = p->next)
		n += p->open;
	return n;
}

void mailbox_helper_ended(struct mailbox *m, uint64_t id, int status)
{
	helper_ended(&m->house, id, status);
}

void mailbox_report(struct mailbox *m, struct buf *out)
{
	buf_addf(out, "{\"open\":%zu,\"free_bytes\":%" PRIu64 ",\"free_inodes\":%" PRIu64 ",\"read_only\":%s,\"stores\":", mailbox_busy(m),
	         m->sent.free_bytes, m->sent.free_inodes, m->sent.read_only ? "true" : "false");
	mailbox_stores_report(&m->stores, out);
	buf_add_byte(out, '}');
}

bool mailbox_has_peers(const struct mailbox *m)
{
	return m->peers != NULL;
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

void mailbox_free(struct mailbox *m)
{
	if (m == NULL)
		return;
	m->on_idle = stop_loop;
	m->arg = m->loop;
	mailbox_jobs_free(m->jobs);
	for (struct peer *p = m->peers, *next; p; p = next) {
		next = p->next;
		if (p->ipc)
			on_close(p, p->ipc);
	}
	if (m->peers)
		loop_run(m->loop); /* until the last transaction is over */
	loop_timer_free(m->timer);
	worker_free(m->sweeper);
	worker_free(m->slow);
	system_forget_all(&m->house);
	helper_forget_all(&m->house);
	mailbox_stores_close(&m->stores);
	mem_free(m);
}
