/* Sessions: how they begin, answer, forget and end. What is said in them is the dialog's. */
#include "smtpd/session.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/auth.h"
#include "smtpd/check.h"
#include "smtpd/content.h"
#include "smtpd/crowd.h"
#include "smtpd/dialog.h"
#include "smtpd/heard.h"
#include "smtpd/listener.h"
#include "smtpd/policy.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"

enum { SESSION_MEM = 64 << 10, HELO_MEM = 8 << 10, FINISH_MS = 10000, LARGE_TRANSACTION = 100 };

static void link_in(struct session *s)
{
	struct smtpd *d = s->smtpd;
	s->next = d->sessions;
	s->link = &d->sessions;
	if (s->next)
		s->next->link = &s->next;
	d->sessions = s;
	d->session_count++;
}

static void link_out(struct session *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	s->smtpd->session_count--;
}

static void set_peer(struct session *s, const struct net_address *peer)
{
	struct buf b = BUF_INIT(sizeof s->facts.ip_text - 1);
	s->facts.peer = *peer;
	s->facts.ip = net_ip_of(peer);
	net_ip_print(&b, &s->facts.ip);
	memcpy(s->facts.ip_text, b.p, b.n);
	buf_free(&b);
}

struct session *session_new(struct smtpd *d, struct listener *l, int fd, const struct net_address *peer)
{
	static const struct conn_limits limits = { DIALOG_MAX_INPUT, DIALOG_MAX_OUTPUT };
	struct session *s = MEM_NEW(struct session);
	*s = (struct session){ .smtpd = d, .listener = l, .mem = ARENA_INIT(SESSION_MEM), .helo_mem = ARENA_INIT(HELO_MEM), .state = SESSION_NEW, .began_ms = clock_mono_ms() };
	buf_init(&s->reply, 1000);
	s->facts.id = unique_new();
	s->facts.listener = listener_kind(l);
	set_peer(s, peer);
	s->facts.exempt = policy_is_exempt(&s->facts.ip);
	link_in(s);
	s->conn = conn_new(d->loop, fd, &limits, &dialog_conn_handler, s);
	conn_set_timeout(s->conn, smtpd_settings.command_timeout_s * 1000);
	d->counts.sessions++;
	return s;
}

void session_free(struct session *s)
{
	session_reset(s);
	if (s->conn)
		heard_leave(s);
	auth_free(s->auth);
	checks_free(s->checks);
	crowd_leave(s->smtpd->crowd, s->counted ? &s->counted_as : NULL);
	loop_timer_free(s->timer);
	conn_free(s->conn);
	buf_free(&s->reply);
	buf_free(&s->before);
	arena_free(&s->helo_mem);
	arena_free(&s->mem);
	link_out(s);
	struct smtpd *d = s->smtpd;
	mem_free(s);
	smtpd_session_ended(d);
}

void session_answer(struct session *s, struct step step)
{
	assert(!s->has_early);
	s->early = step;
	s->has_early = true;
	s->waiting = false;
	if (!s->running)
		dialog_run(s);
}

struct mail_status session_keep(struct session *s, struct mail_status status)
{
	if (s->reply.n && status.text.p == s->reply.p)
		return status;
	buf_clear(&s->reply);
	buf_add(&s->reply, slice_head(status.text, s->reply.max));
	status.text = buf_slice(&s->reply);
	return status;
}

void session_reset(struct session *s)
{
	content_free(s->content);
	s->content = NULL;
	if (s->transaction) {
		checks_reset(s->checks);
		s->smtpd->large_ended |= s->facts.transaction->recipient_count >= LARGE_TRANSACTION;
		transaction_free(s->transaction);
		s->transaction = NULL;
		s->facts.transaction = NULL;
		s->candidate = NULL;
		s->judged_at = 0;
	}
	if (s->state > SESSION_READY)
		s->state = SESSION_READY;
}

void session_forget_helo_words(struct session *s)
{
	s->helo_tags = s->helo_by_pass = (struct words){ 0 };
	arena_reset(&s->helo_mem);
}

void session_forget(struct session *s)
{
	session_reset(s);
	s->state = SESSION_GREETED;
	s->facts.helo = SLICE("");
	session_forget_helo_words(s);
	s->facts.esmtp = false;
	s->facts.login = SLICE("");
	s->facts.login_mechanism = SLICE("");
}

void session_end(struct session *s, struct mail_status status)
{
	s->ending = status;
	if (!s->waiting && !s->running)
		dialog_run(s);
}

static void timer_fired(void *arg)
{
	struct session *s = arg;
	void (*then)(void *) = s->then;
	s->then = NULL;
	then(s);
}

void session_after(struct session *s, uint64_t ms, void (*then)(void *session))
{
	assert(!s->then);
	if (!s->timer)
		s->timer = loop_timer_new(s->smtpd->loop, timer_fired, s);
	s->then = then;
	loop_timer_set(s->timer, ms);
}

void words_add(struct words *w, struct arena *mem, struct slice word)
{
	for (size_t i = 0; i < w->count; i++)
		if (slice_eq(w->at[i], word))
			return;
	if (!w->at)
		w->at = ARENA_ARRAY(mem, struct slice, SESSION_MAX_WORDS);
	struct slice copy = w->at && w->count < SESSION_MAX_WORDS ? arena_copy(mem, word) : SLICE_NONE;
	if (copy.p)
		w->at[w->count++] = copy;
}
