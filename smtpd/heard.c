/* Promises whose 250 may not have been heard: those of a session, and those whose session is over while its last bytes are under way. */
#include "smtpd/heard.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/flight.h"
#include "smtpd/peer.h"
#include "smtpd/session.h"
#include "smtpd/transaction_inside.h"

enum { PROMISE_MEM = 1 << 20, MAX_WATCHED = 256, MAX_UNSENT = 1000, MAX_FLYING = 12, LOOK_MS = 100, WATCH_MS = 60000 };

struct promise {
	struct promise *next;
	struct arena mem;
	struct unique id;                /* the transaction's, for the log */
	struct ledger_source source;
	struct slice *leaves;
	size_t count;                    /* who were told 250 */
	size_t all;                      /* and behind them who were told, in replies of their own (PRDR), that they were not served */
	uint64_t *tickets;               /* in queue/flight */
	size_t ticket_count;
	bool noted;                      /* the ledger has pending entries of it */
	bool lost;                       /* it was not heard */
};

/* A socket whose session is over. */
struct watched {
	struct watched *next;
	int fd;
	uint64_t since_ms;
	bool ended;                      /* our side is shut */
	struct promise *promises;
};

static struct watched *watched;
static struct promise *unsent;           /* what becomes of them is known, the queue process isn't there */
static size_t watched_count, unsent_count;
static struct loop_timer *timer;

static void look_at_all(void *arg);

static void look_soon(struct smtpd *d)
{
	if (!timer)
		timer = loop_timer_new(d->loop, look_at_all, d);
	if (!loop_timer_is_set(timer))
		loop_timer_set(timer, LOOK_MS);
}

/* -- what comes of a promise -------------------------------------------------------------------------------------------------------------------- */

static void promise_free(struct promise *p)
{
	arena_free(&p->mem);
	mem_free(p);
}

/* 0, or -EPIPE: the queue process is not there just now. */
static int clear(struct smtpd *d, const struct promise *p)
{
	struct ledger_decide m = { p->source, p->leaves, p->all };
	struct buf b = BUF_INIT(LEDGER_MAX_RECORD);
	int error = ledger_put_decide(&b, &m) ? 0 : peer_tell(d->queue, LEDGER_CLEAR, 0, buf_slice(&b));
	buf_free(&b);
	return error;
}

static int note_lost(struct smtpd *d, const struct promise *p)
{
	struct ledger_entry *entries = mem_new_array(p->count, sizeof *entries);
	struct ledger_note note = { p->source, LEDGER_NOTE_SOON, entries, p->count };
	struct buf b = BUF_INIT(LEDGER_MAX_RECORD);
	for (size_t i = 0; i < p->count; i++)
		entries[i] = (struct ledger_entry){ p->leaves[i], LEDGER_LOST, MAIL_STATUS_OK, SLICE("") };
	int error = ledger_put_note(&b, &note) ? 0 : peer_tell(d->queue, LEDGER_NOTE, 0, buf_slice(&b));
	buf_free(&b);
	mem_free(entries);
	return error;
}

static int tell(struct smtpd *d, const struct promise *p)
{
	int error = p->noted ? clear(d, p) : 0;
	return error || !p->lost || !p->count || !p->source.message_id.n ? error : note_lost(d, p);
}

/* Without the queue process it waits for it, as much as memory may be spent on it: at worst a second copy, or a recipient who travels alone for some days. */
static void tell_or_keep(struct smtpd *d, struct promise *p)
{
	if (tell(d, p) == 0 || unsent_count == MAX_UNSENT) {
		promise_free(p);
		return;
	}
	p->next = unsent;
	unsent = p;
	unsent_count++;
	look_soon(d);
}

static void tell_unsent(struct smtpd *d)
{
	while (unsent && tell(d, unsent) == 0) {
		struct promise *p = unsent;
		unsent = p->next;
		unsent_count--;
		promise_free(p);
	}
}

/* Of mailboxes alone, or the queue: what the ledger has to know stands in the slots. */
static void read_records(struct smtpd *d, struct promise *p)
{
	struct ledger_note note;
	p->leaves = ARENA_ARRAY(&p->mem, struct slice, p->ticket_count * MAX_FLYING);
	for (size_t i = 0; p->leaves && i < p->ticket_count; i++) {
		struct slice record = arena_copy(&p->mem, flight_record(d->flight, d->flight_owner, p->tickets[i]));
		if (!record.n || ledger_get_note(record, &p->mem, &note) < 0 || note.count > MAX_FLYING)
			continue;
		p->source = note.source;
		for (size_t k = 0; k < note.count; k++)
			p->leaves[p->count++] = note.entries[k].leaf;
	}
}

static void end_flight(struct smtpd *d, const uint64_t *tickets, size_t count)
{
	for (size_t i = 0; i < count; i++)
		flight_end(d->flight, d->flight_owner, tickets[i]);
}

static void settle(struct smtpd *d, struct promise **list, bool heard)
{
	while (*list) {
		struct promise *p = *list;
		*list = p->next;
		p->lost = !heard;
		d->counts.lost_replies += p->lost;
		if (p->ticket_count && p->lost)
			read_records(d, p);
		end_flight(d, p->tickets, p->ticket_count);
		if (p->lost)
			log_event(LOG_INFO, "reply-lost", LOG_STR("id", unique_slice(&p->id)), LOG_STR("from", p->source.reverse_path), LOG_STR("message-id", p->source.message_id), LOG_END);
		tell_or_keep(d, p);
	}
}

/* -- sockets ------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_acknowledged(int fd)
{
	int waiting = 0;
	return ioctl(fd, SIOCOUTQ, &waiting) == 0 && waiting == 0;
}

/* Nothing can be acknowledged any more. */
static bool is_dead(int fd)
{
	struct tcp_info info;
	socklen_t n = sizeof info;
	struct pollfd p = { .fd = fd };
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0)
		return info.tcpi_state == TCP_CLOSE;
	return poll(&p, 1, 0) < 0 || p.revents & (POLLHUP | POLLERR);
}

/* -- what goes on behind a session ------------------------------------------------------------------------------------------------------------------ */

/* True: it is known what became of it. */
static bool look_at_watched(struct smtpd *d, struct watched *w)
{
	if (!w->ended)
		shutdown(w->fd, SHUT_WR); /* the connection is closed, but for our descriptor */
	w->ended = true;
	bool heard = is_acknowledged(w->fd);
	if (!heard && !is_dead(w->fd) && clock_mono_ms() - w->since_ms < WATCH_MS)
		return false;
	settle(d, &w->promises, heard);
	return true;
}

static void drop_watched(struct watched **at)
{
	struct watched *w = *at;
	*at = w->next;
	close(w->fd);
	mem_free(w);
	watched_count--;
}

static void look_at_all(void *arg)
{
	for (struct watched **at = &watched; *at;) {
		if (look_at_watched(arg, *at))
			drop_watched(at);
		else
			at = &(*at)->next;
	}
	tell_unsent(arg);
	if (watched || unsent)
		loop_timer_set(timer, LOOK_MS);
}

static bool watch(struct session *s, struct promise *promises)
{
	int fd = watched_count < MAX_WATCHED ? fcntl(conn_fd(s->conn), F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0)
		return false;
	struct watched *w = MEM_NEW(struct watched);
	*w = (struct watched){ watched, fd, clock_mono_ms(), false, promises };
	watched = w;
	watched_count++;
	look_soon(s->smtpd);
	loop_timer_set(timer, 1);
	return true;
}

/* -- in flight ------------------------------------------------------------------------------------------------------------------------------------ */

void heard_open(struct smtpd *d)
{
	d->flight = flight_take(d->house);
	while (!d->flight_owner || d->flight_owner == FLIGHT_LEFT)
		crypto_random(&d->flight_owner, sizeof d->flight_owner);
}

void heard_queue_is_up(void *arg)
{
	struct smtpd *d = arg;
	struct buf b = BUF_INIT(64);
	queue_put_owner(&b, d->flight_owner);
	peer_tell(d->queue, QUEUE_OWNER, 0, buf_slice(&b));
	buf_free(&b);
	tell_unsent(d);
	outcome_queue_is_up();
}

static size_t count_leaves(const struct transaction_facts *f)
{
	size_t n = 0;
	for (size_t i = 0; i < f->recipient_count; i++)
		n += f->recipients[i]->resolved.count;
	return n;
}

/* As many of them as one slot holds, in a slot. How many; 0: not one, or there is no slot. */
static size_t begin_some(struct transaction *t, struct ledger_entry *entries, size_t count)
{
	struct smtpd *d = t->session->smtpd;
	uint64_t ticket = 0;
	for (count = count < MAX_FLYING ? count : MAX_FLYING; count && !ticket; count /= ticket ? 1 : 2) {
		struct ledger_note note = { *outcome_source(&t->outcome), LEDGER_NOTE_SOON, entries, count };
		struct buf b = BUF_INIT(FLIGHT_MAX_RECORD);
		if (ledger_put_note(&b, &note) == 0 && !(ticket = flight_begin(d->flight, d->flight_owner, buf_slice(&b))))
			count = 0;
		buf_free(&b);
	}
	if (ticket)
		t->tickets[t->ticket_count++] = ticket;
	return count;
}

/* All of them, or none: what is missing would have to be found out by the one who is there. */
static void begin(struct transaction *t, struct ledger_entry *entries, size_t count)
{
	size_t at = 0, n = 1;
	t->tickets = ARENA_ARRAY(&t->mem, uint64_t, FLIGHT_MAX_TICKETS);
	while (t->tickets && n && at < count && t->ticket_count < FLIGHT_MAX_TICKETS)
		at += n = begin_some(t, entries + at, count - at);
	if (at < count)
		heard_end(t);
}

void heard_begin(struct transaction *t)
{
	size_t count = 0;
	struct ledger_entry *entries = mem_new_array(count_leaves(&t->facts), sizeof *entries);
	for (size_t i = 0; i < t->facts.recipient_count; i++)
		for (size_t k = 0; k < t->facts.recipients[i]->resolved.count; k++)
			entries[count++] = (struct ledger_entry){ t->facts.recipients[i]->resolved.leaves[k].address, LEDGER_INTENT, MAIL_STATUS_OK, transaction_id(t) };
	begin(t, entries, count);
	mem_free(entries);
}

static size_t count_copies(const struct queue_put *put)
{
	size_t n = 0;
	for (size_t i = 0; i < put->envelope_count; i++)
		n += put->envelopes[i].recipient_count;
	return n;
}

void heard_begin_put(struct transaction *t, struct queue_put *put)
{
	size_t count = 0;
	struct ledger_entry *entries = mem_new_array(count_copies(put), sizeof *entries);
	for (size_t i = 0; i < put->envelope_count; i++)
		for (size_t k = 0; k < put->envelopes[i].recipient_count; k++)
			entries[count++] = (struct ledger_entry){ put->envelopes[i].recipients[k].address, LEDGER_DONE, MAIL_STATUS_OK, put->envelopes[i].id };
	begin(t, entries, count);
	put->tickets = t->ticket_count ? slice((const char *)t->tickets, t->ticket_count * sizeof *t->tickets) : SLICE("");
	mem_free(entries);
}

void heard_leave_behind(struct transaction *t)
{
	for (size_t i = 0; i < t->ticket_count; i++)
		flight_leave(t->session->smtpd->flight, t->session->smtpd->flight_owner, t->tickets[i]);
	t->ticket_count = 0;
}

void heard_end(struct transaction *t)
{
	end_flight(t->session->smtpd, t->tickets, t->ticket_count);
	t->ticket_count = 0;
}

/* -- a session ------------------------------------------------------------------------------------------------------------------------------------ */

/* Those of recipients whose own outcome is one of these. */
static size_t add_leaves(struct promise *p, size_t at, const struct transaction_facts *f, enum mail_fate from, enum mail_fate to)
{
	for (size_t i = 0; p->leaves && i < f->recipient_count; i++) {
		const struct recipient *r = f->recipients[i];
		for (size_t k = 0; r->status.fate >= from && r->status.fate <= to && k < r->resolved.count; k++)
			p->leaves[at++] = arena_copy(&p->mem, r->resolved.leaves[k].address);
	}
	return at;
}

static void fill(struct promise *p, const struct transaction *t, const struct ledger_source *source, size_t leaves)
{
	p->noted = t->outcome.promised > 0;
	p->leaves = ARENA_ARRAY(&p->mem, struct slice, leaves);
	p->source = outcome_copy_source(&p->mem, source);
	p->count = add_leaves(p, 0, &t->facts, MAIL_OK, MAIL_OK);
	p->all = t->outcome.uncertain ? p->count : add_leaves(p, p->count, &t->facts, MAIL_LATER, MAIL_NEVER);
}

static void take_tickets(struct promise *p, struct transaction *t)
{
	p->tickets = ARENA_ARRAY(&p->mem, uint64_t, t->ticket_count);
	if (!p->tickets)
		return;
	memcpy(p->tickets, t->tickets, t->ticket_count * sizeof *p->tickets);
	p->ticket_count = t->ticket_count;
	t->ticket_count = 0;
}

/* Without a Message-ID a repeat is not told from another message that says the same: it is not remembered, unless something has to be cleared. */
void heard_expect(struct session *s, struct transaction *t)
{
	const struct ledger_source *source = outcome_source(&t->outcome);
	size_t leaves = count_leaves(&t->facts);
	if ((!source->message_id.n && !t->outcome.promised && !t->ticket_count) || !leaves || leaves > QUEUE_MAX_ENTRIES)
		return;
	struct promise *p = MEM_NEW(struct promise);
	*p = (struct promise){ .next = s->promises, .mem = ARENA_INIT(PROMISE_MEM), .id = t->facts.id };
	if (t->ticket_count && !t->each && !t->outcome.promised) /* whose records say it all */
		take_tickets(p, t);
	else
		fill(p, t, source, leaves);
	s->promises = p;
}

void heard_look(struct session *s)
{
	if (s->promises && !conn_output_pending(s->conn) && is_acknowledged(conn_fd(s->conn)))
		settle(s->smtpd, &s->promises, true);
}

void heard_failed(struct session *s)
{
	settle(s->smtpd, &s->promises, false);
}

void heard_leave(struct session *s)
{
	heard_look(s);
	if (!s->promises)
		return;
	if (!conn_output_pending(s->conn) && !is_dead(conn_fd(s->conn)) && watch(s, s->promises))
		s->promises = NULL;
	else
		heard_failed(s);
}

void heard_close(struct smtpd *d)
{
	while (watched) {
		settle(d, &watched->promises, is_acknowledged(watched->fd));
		drop_watched(&watched);
	}
	tell_unsent(d);
	while (unsent) {
		struct promise *p = unsent;
		unsent = p->next;
		promise_free(p);
	}
	loop_timer_free(timer);
	timer = NULL;
}
