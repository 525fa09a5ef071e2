/* An item is due: its message is read by a worker, its recipients are handed out as one job, what comes back becomes outcomes. A message whose time is over,
 * or whose place is ours and leads nowhere any more, gets its outcomes here. */
#include "queue/attempt.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mail_path.h"
#include "base/mem.h"
#include "maps/resolve.h"
#include "queue/job_sign.h"
#include "queue/queue_settings.h"
#include "queue/settling.h"

enum { MAX_RAW = (64 + 16 + 8) << 20, MAX_MEMORY = 64 << 20, MAX_JOB = IPC_MAX_PAYLOAD, AGAIN_S = 5 };

/* -- the table of those that are out ------------------------------------------------------------------------------------------------------- */

static uint64_t hash_attempt(const struct index_node *n, const void *arg)
{
	(void)arg;
	return ((const struct attempt *)n)->id * 0x9e3779b97f4a7c15u >> 20;
}

static bool is_attempt(const struct index_node *n, const void *key)
{
	return ((const struct attempt *)n)->id == *(const uint64_t *)key;
}

static uint64_t hash_id(uint64_t id)
{
	return id * 0x9e3779b97f4a7c15u >> 20;
}

static struct attempt *find_attempt(struct queue *q, uint64_t id)
{
	return (struct attempt *)index_find(&q->attempts, hash_id(id), is_attempt, &id);
}

void queue_attempt_free(struct attempt *a)
{
	struct queue *q = a->queue;
	file_close(&a->message.fd);
	buf_free(&a->raw);
	buf_free(&a->append.records);
	arena_free(&a->mem);
	loop_timer_free(a->again);
	mem_free(a);
	queue_end(q);
}

/* -- outcomes of our own making --------------------------------------------------------------------------------------------------------------- */

static void add_outcome(struct attempt *a, uint32_t recipient, struct mail_status status, struct slice host)
{
	static const enum event_kind kinds[] = { [MAIL_OK] = EVENT_DONE, [MAIL_LATER] = EVENT_LATER, [MAIL_NEVER] = EVENT_FAILED };
	a->outcomes[a->outcome_count++] = (struct outcome){ .recipient = recipient, .kind = kinds[status.fate], .status = status, .host = host };
}

static void all_same(struct attempt *a, struct mail_status status)
{
	for (size_t i = 0; i < a->picked_count; i++)
		add_outcome(a, a->picked[i], status, SLICE_NONE);
	settle_attempt(a);
}

/* The time is over (RFC 5321 4.5.4.1, RFC 2852 4.1.4): the last answer is told, word for word. */
static void expire(struct attempt *a, struct slice phrase)
{
	for (size_t i = 0; i < a->picked_count; i++) {
		const struct recipient_state *r = &a->message.state.recipients[a->picked[i]];
		struct buf text = BUF_INIT(1024);
		buf_add(&text, phrase);
		if (r->attempts)
			buf_addf(&text, "; the last answer was: %u %.*s", r->status.code, SLICE_FMT(slice_head(r->status.text, 600)));
		struct mail_status s = { MAIL_NEVER, 554, { 4, 7 }, arena_copy(&a->mem, buf_slice(&text)) };
		buf_free(&text);
		add_outcome(a, a->picked[i], s, r->host);
	}
	settle_attempt(a);
}

/* The message is not where it was, or not what it was. */
static void lost(struct attempt *a)
{
	struct queue *q = a->queue;
	struct message *m = a->item->message;
	struct slice id = slice_of(a->message_id);
	if (a->error == -EBADMSG) {
		queue_set_aside(q, a->message_id, a->why);
	} else if (a->error != -ENOENT) { /* no descriptors, no memory, a broken disk: later */
		log_event(LOG_WARN, "queue-read-failed", LOG_STR("id", id), LOG_ERRNO(a->error), LOG_END);
		schedule_back(q->schedule, a->item, clock_wall_s() + 60);
		queue_attempt_free(a);
		return;
	}
	schedule_back(q->schedule, a->item, INT64_MAX);
	if (m->out == 0 && !m->settling)
		scan_forget(q, m);
	else
		schedule_remove_item(q->schedule, a->item);
	queue_attempt_free(a);
}

/* -- the job ---------------------------------------------------------------------------------------------------------------------------------- */

static void send_job(struct attempt *a, struct ipc *to, struct slice place, struct job_recipient *recipients, size_t count)
{
	struct queue *q = a->queue;
	const struct envelope *e = &a->message.envelope;
	struct buf payload = BUF_INIT(MAX_JOB);
	struct job j = {
		.id = e->id, .place = place, .route = e->recipients[a->picked[0]].route, .reverse_path = e->reverse_path, .envelope_id = e->envelope_id,
		.return_full = e->return_full, .return_headers = e->return_headers, .utf8 = e->utf8, .eight_bit = e->eight_bit, .require_tls = e->require_tls, .waive_tls = e->waive_tls,
		.ask_host = e->report && e->evidence.grade == EVIDENCE_SPF, .priority = e->priority, .deliver_by_s = e->deliver_by_s,
		.deliver_by_return = e->deliver_by_return, .deliver_by_trace = e->deliver_by_trace, .content_offset = a->message.content_offset, .content_length = a->message.content_length,
		.recipients = recipients, .recipient_count = count
	};
	bool keys_unsure = !slice_eq(place, JOB_PLACE_MAILBOX) && job_sign_keys(q->maps, a->author, &a->mem, &j) == UNSURE;
	if (keys_unsure) {
		all_same(a, MAIL_STATUS(MAIL_LATER, 451, 7, 5, "Who signs this message is not known just now"));
		return;
	}
	int error = job_put(&payload, &j);
	a->id = ++q->last_job;
	a->channel = to;
	if (error == 0) {
		index_add(&q->attempts, &a->node, hash_id(a->id));
		error = ipc_send(to, JOB_START, a->id, buf_slice(&payload), a->message.fd);
		if (error) {
			index_remove(&q->attempts, &a->node, hash_id(a->id));
			a->channel = NULL;
		}
	}
	buf_free(&payload);
	if (error)
		all_same(a, MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The delivery process can't be reached just now"));
	else
		file_close(&a->message.fd);
}

static struct job_recipient recipient_of(const struct attempt *a, uint32_t index)
{
	const struct envelope_recipient *r = &a->message.envelope.recipients[index];
	return (struct job_recipient){ .index = index, .address = r->address, .original = r->original, .notify = r->notify };
}

static void send_to_hop(struct attempt *a, struct slice place)
{
	struct job_recipient *all = ARENA_ARRAY(&a->mem, struct job_recipient, a->picked_count);
	struct ipc *to = queue_channel(a->queue, false, place);
	for (size_t i = 0; i < a->picked_count; i++)
		all[i] = recipient_of(a, a->picked[i]);
	if (to)
		send_job(a, to, place, all, a->picked_count);
	else
		all_same(a, MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The delivery process is not there just now"));
}

/* -- what `address` of place "local:" resolves to now --------------------------------------------------------------------------------------------- */

static void resolve_one(struct attempt *a, uint32_t index, struct resolved *out)
{
	struct mail_path path;
	const char *why;
	*out = (struct resolved){ .status = MAIL_STATUS_UNSURE("There are no maps just now") };
	if (mail_path_parse_address(a->message.envelope.recipients[index].address, &a->mem, &path, &why))
		out->status = MAIL_STATUS(MAIL_NEVER, 553, 1, 3, "This is no address");
	else if (a->queue->maps)
		resolve_path(a->queue->maps, &path, false, &a->mem, out);
}

/* Mailbox leaves go to the mailbox process, each recipient's in one transaction. A recipient that leads elsewhere gets a place of its own and waits for
 * its turn there; one with several leaves of which some lead outside is delivered to those that are ours (a list's copies are queued by its owner). */
/* Its leaves in mailboxes here; how many there are then. */
static size_t add_mailboxes(struct attempt *a, uint32_t index, const struct resolved *r, struct job_recipient *all, size_t count)
{
	for (size_t i = 0; i < r->count && count < JOB_MAX_RECIPIENTS; i++) {
		const struct leaf *l = &r->leaves[i];
		if (l->kind == LEAF_HOP || l->kind == LEAF_LMTP)
			continue;
		all[count] = recipient_of(a, index);
		all[count].address = l->address;
		all[count].leaf_kind = (uint8_t)l->kind;
		all[count].leaf_place = l->place;
		all[count].quota_bytes = l->quota_bytes, all[count].quota_messages = l->quota_messages;
		count++;
	}
	return count;
}

static void send_or_wait(struct attempt *a, struct ipc *to, struct slice place, struct job_recipient *all, size_t count, struct mail_status away)
{
	if (to && count)
		send_job(a, to, place, all, count);
	else
		all_same(a, away);
}

/* A recipient that the maps lead to a server now: this job is its alone. */
static void send_elsewhere(struct attempt *a, uint32_t index, const struct leaf *l)
{
	struct buf place = BUF_INIT(40000);
	struct job_recipient one = recipient_of(a, index);
	one.address = l->address;
	if (l->kind == LEAF_LMTP)
		buf_add(&place, SLICE("lmtp:"));
	buf_add(&place, l->place);
	struct slice to = arena_copy(&a->mem, buf_slice(&place));
	buf_free(&place);
	a->picked[0] = index;
	a->picked_count = 1;
	a->outcome_count = 0;
	send_or_wait(a, queue_channel(a->queue, false, to), to, &one, 1, MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The delivery process is not there just now"));
}

/* As many as fit into one job; the others are picked again. */
static void send_to_mailbox(struct attempt *a)
{
	struct job_recipient *all = ARENA_ARRAY(&a->mem, struct job_recipient, JOB_MAX_RECIPIENTS);
	size_t count = 0, handed = 0;
	for (size_t i = 0; i < a->picked_count; i++) {
		struct resolved r;
		uint32_t index = a->picked[i];
		resolve_one(a, index, &r);
		if (handed && count + r.count > JOB_MAX_RECIPIENTS)
			break;
		if (r.status.fate != MAIL_OK) {
			add_outcome(a, index, r.status, SLICE_NONE);
			continue;
		}
		size_t first = count;
		count = add_mailboxes(a, index, &r, all, count);
		if (count == first && r.count && handed)
			break; /* what is collected goes first */
		if (count == first && r.count) {
			send_elsewhere(a, index, &r.leaves[0]);
			return;
		}
		a->picked[handed++] = index;
	}
	a->picked_count = handed;
	send_or_wait(a, queue_channel(a->queue, true, SLICE_NONE), JOB_PLACE_MAILBOX, all, count, MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The mailbox process is not there just now"));
}

/* -- reading ---------------------------------------------------------------------------------------------------------------------------------- */

/* In a worker. */
static void read_message(void *arg)
{
	struct attempt *a = arg;
	struct slice place = schedule_place_name(a->item);
	a->error = spool_read(a->queue->spool, SPOOL_QUEUE, slice_of(a->message_id), &a->raw, &a->mem, &a->message, &a->why);
	if (a->error)
		return;
	a->error = spool_verify(&a->message, &a->why);
	if (a->error)
		return;
	const struct envelope *e = &a->message.envelope;
	if (e->sign)
		job_sign_author(a->message.fd, a->message.content_offset, a->message.content_length, &a->mem, &a->author);
	size_t most = JOB_MAX_RECIPIENTS;
	a->picked = ARENA_ARRAY(&a->mem, uint32_t, most);
	a->outcomes = ARENA_ARRAY(&a->mem, struct outcome, 2 * most);
	if (!a->picked || !a->outcomes) {
		a->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < e->recipient_count; i++) {
		const struct recipient_state *r = &a->message.state.recipients[i];
		if (r->fate != RECIPIENT_WAITING || !slice_eq(r->place, place))
			continue;
		a->waiting_count++;
		if (a->picked_count < most)
			a->picked[a->picked_count++] = (uint32_t)i;
	}
}

/* Nothing is over; that it takes long may be told. */
static void looked(struct attempt *a)
{
	struct queue *q = a->queue;
	struct message *m = a->item->message;
	const struct spool_message *read = &a->message;
	int64_t now = clock_wall_s();
	if (settling_delay_due(&read->envelope, &read->state, now) && queue_believes_clock(q))
		m->wants_settling = true;
	else
		queue_look_at(m, taken_look_s(&read->envelope, &read->state, now >= taken_delay_s(&read->envelope)));
	schedule_back(q->schedule, a->item, a->back_s);
	queue_attempt_free(a);
	settle_check(q, m);
	queue_wake(q);
}

/* In the loop. */
static void go(void *arg)
{
	struct attempt *a = arg;
	struct queue *q = a->queue;
	int64_t now = clock_wall_s();
	const struct envelope *e = &a->message.envelope;
	if (a->error) {
		lost(a);
		return;
	}
	if (a->item->message->held || e->hold_until_s > now) { /* FUTURERELEASE: the clock may have been set back meanwhile */
		schedule_back(q->schedule, a->item, e->hold_until_s);
		if (e->hold_until_s > now)
			schedule_appoint(a->item->message);
		queue_attempt_free(a);
		return;
	}
	if (a->picked_count == 0)
		settle_attempt(a); /* nobody waits here any more */
	else if (now >= e->expires_s && queue_believes_clock(q))
		expire(a, SLICE("Delivery was tried until the time was over"));
	else if (e->deliver_by_s && e->deliver_by_return && now >= e->deliver_by_s && queue_believes_clock(q))
		expire(a, SLICE("Delivery within the wanted time was not possible"));
	else if (a->look_only)
		looked(a);
	else if (slice_eq(schedule_place_name(a->item), ENVELOPE_PLACE_LOCAL))
		send_to_mailbox(a);
	else
		send_to_hop(a, schedule_place_name(a->item));
}

static struct attempt *attempt_new(struct queue *q, struct item *i)
{
	struct attempt *a = MEM_NEW(struct attempt);
	if (!q->attempts.hash_of)
		q->attempts = (struct index)INDEX_INIT(hash_attempt, NULL);
	a->queue = q;
	a->item = i;
	a->message.fd = -1;
	buf_init(&a->raw, MAX_RAW);
	buf_init(&a->append.records, SPOOL_JOURNAL_MAX);
	a->mem = (struct arena)ARENA_INIT(MAX_MEMORY);
	memcpy(a->message_id, i->message->id, SCHEDULE_ID);
	queue_begin(q);
	return a;
}

void attempt_start(struct queue *q, struct item *i)
{
	worker_add(q->files, read_message, go, attempt_new(q, i));
}

void attempt_look_at(struct queue *q, struct item *i)
{
	int64_t due_s = schedule_due_s(i);
	schedule_take_this(q->schedule, i);
	struct attempt *a = attempt_new(q, i);
	a->look_only = true;
	a->back_s = due_s;
	worker_add(q->files, read_message, go, a);
}

/* -- what came back ----------------------------------------------------------------------------------------------------------------------------- */

static void take_result(struct attempt *a, const struct job_recipient_result *r)
{
	struct mail_status s = mail_status_copy(&a->mem, r->status);
	for (size_t i = 0; i < a->picked_count; i++) {
		struct outcome *o = NULL;
		if (a->picked[i] != r->index)
			continue;
		for (size_t k = 0; k < a->outcome_count; k++)
			if (a->outcomes[k].recipient == r->index)
				o = &a->outcomes[k];
		if (o) /* several leaves of one recipient: all commit together or none, so the first says it */
			return;
		add_outcome(a, r->index, s, arena_copy(&a->mem, r->host));
		a->outcomes[a->outcome_count - 1].dsn_passed = r->dsn_passed;
		a->outcomes[a->outcome_count - 1].deadline_passed = r->deadline_passed;
		return;
	}
}

static bool has_outcome(const struct attempt *a, uint32_t recipient)
{
	for (size_t k = 0; k < a->outcome_count; k++)
		if (a->outcomes[k].recipient == recipient)
			return true;
	return false;
}

static void over(struct attempt *a)
{
	index_remove(&a->queue->attempts, &a->node, hash_id(a->id));
	a->channel = NULL;
	for (size_t i = 0; i < a->picked_count; i++)
		if (!has_outcome(a, a->picked[i]))
			add_outcome(a, a->picked[i], MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The delivery process said nothing about this recipient"), SLICE_NONE);
	settle_attempt(a);
}

int attempt_result(struct queue *q, struct ipc *from, const struct ipc_message *m)
{
	struct attempt *a = find_attempt(q, m->id);
	struct arena mem = ARENA_INIT(MAX_MEMORY);
	struct job_result r;
	int error = !a || a->channel != from ? -EPROTO : job_get_result(m->payload, &mem, &r);
	if (error == 0) {
		for (size_t i = 0; i < r.recipient_count; i++)
			take_result(a, &r.recipients[i]);
		a->window = r.window;
		a->rest_ms = r.rest_ms;
		over(a);
	}
	arena_free(&mem);
	return error;
}

/* A report on a message with evidence spf: one a day for each host (report_gate). */
int attempt_host(struct queue *q, struct ipc *from, const struct ipc_message *m)
{
	struct attempt *a = find_attempt(q, m->id);
	struct slice host;
	if (!a || a->channel != from || job_get_host(m->payload, &host))
		return -EPROTO;
	struct buf answer = BUF_INIT(64);
	job_put_host_ok(&answer, report_gate_host(q->gate, &a->message.envelope.evidence, host, clock_wall_s()));
	q->gate_dirty = true;
	ipc_send(from, JOB_HOST_OK, m->id, buf_slice(&answer), -1);
	buf_free(&answer);
	return 0;
}

/* Whatever it has seen of them is unknown. */
void attempt_channel_gone(struct queue *q, const struct ipc *channel)
{
	for (size_t i = 0; i < q->attempts.size; i++)
		for (struct index_node *n = q->attempts.buckets[i], *next; n; n = next) {
			struct attempt *a = (struct attempt *)n;
			next = n->next;
			if (a->channel == channel)
				over(a);
		}
}

/* The process ends; whatever became of them is found out by the next one. */
void attempt_forget_all(struct queue *q)
{
	for (size_t i = 0; i < q->attempts.size; i++)
		for (struct index_node *n = q->attempts.buckets[i], *next; n; n = next) {
			next = n->next;
			queue_attempt_free((struct attempt *)n);
		}
	index_free(&q->attempts);
}
