/* Content as it comes. Once something is wrong with it nothing more is kept, but it is read to its true end: the refusal is the answer to that. */
#include "smtpd/content.h"

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mail_dot.h"
#include "base/mem.h"
#include "smtpd/attack.h"
#include "smtpd/check.h"
#include "smtpd/dialog.h"
#include "smtpd/outcome.h"
#include "smtpd/received.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/transaction.h"

/* Harvesting (rule.md, "Both horns"): nothing of it is kept, nobody is asked about it, so the answer is the same at the same time whatever it holds. */
#define BLIND MAIL_STATUS(MAIL_LATER, 451, 7, 1, "Not taken now, try again later")

struct content {
	struct session *session;
	struct message *message;
	struct mail_dot dot;
	bool chunks;
	bool open;              /* bytes are content: always by DATA, inside of a chunk by BDAT */
	bool last;              /* this chunk is */
	bool ended;             /* its last byte was taken */
	uint64_t left;          /* of the chunk */
	uint64_t chunk;
	uint64_t limit;         /* of the whole, in bytes as they come */
	bool dropping, stuck, wants_checks, head_told;
	struct mail_status refusal;
};

/* The smallest limit: ours, or that of a recipient. */
static uint64_t limit_of(const struct transaction_facts *t)
{
	uint64_t limit = smtpd_settings.size_limit;
	for (size_t i = 0; i < t->recipient_count; i++)
		for (size_t k = 0; k < t->recipients[i]->resolved.count; k++) {
			uint64_t own = t->recipients[i]->resolved.leaves[k].size_limit;
			if (own && own < limit)
				limit = own;
		}
	return limit;
}

struct content *content_new(struct session *s, bool chunks)
{
	struct content *c = MEM_NEW(struct content);
	*c = (struct content){ .session = s, .message = transaction_message(s->transaction), .chunks = chunks, .open = !chunks };
	mail_dot_begin(&c->dot, s->facts.login.n > 0); /* our own people's programs may send LF alone (RFC 6409); nobody else's */
	c->limit = limit_of(s->facts.transaction);
	c->wants_checks = checks_want_content(s->checks);
	c->message->host = general_settings.hostname;
	memcpy(c->message->digest_key, outcome_content_key(), CRYPTO_MAC_KEY);
	if (s->facts.transaction->blind)
		content_refuse(c, BLIND);
	received_print(&c->message->front, &s->facts, general_settings.hostname, clock_wall_s());
	return c;
}

void content_free(struct content *c)
{
	mem_free(c);
}

void content_chunk(struct content *c, uint64_t size, bool last)
{
	c->left = c->chunk = size;
	c->last = last;
	c->open = true;
}

bool content_is_open(const struct content *c)
{
	return c->open;
}

bool content_is_stuck(const struct content *c)
{
	return c->stuck;
}

void content_refuse(struct content *c, struct mail_status status)
{
	if (c->dropping)
		return;
	c->dropping = true;
	c->refusal = status;
}

/* -- keeping ---------------------------------------------------------------------------------------------------------------------------------- */

static void tell_checks(struct content *c, struct slice s, uint64_t body_before)
{
	struct message *m = c->message;
	if (!m->head_done)
		return;
	if (!c->head_told)
		checks_head(c->session->checks, buf_slice(&m->head));
	c->head_told = true;
	if (m->lead.n)
		checks_body(c->session->checks, buf_slice(&m->lead));
	body_before += m->lead.n;
	buf_free(&m->lead);
	size_t n = (size_t)(m->body_length - body_before);
	if (n)
		checks_body(c->session->checks, slice_skip(s, s.n - n));
}

static struct mail_status head_too_long(void)
{
	return MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "The header section is too long");
}

static void keep(void *arg, struct slice s)
{
	struct content *c = arg;
	struct message *m = c->message;
	uint64_t body_before = m->body_length;
	if (c->dropping)
		return;
	if (m->length + s.n > c->limit)
		content_refuse(c, MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "The message is larger than what is taken here"));
	else if (message_add(m, s) < 0)
		content_refuse(c, head_too_long());
	else if (c->wants_checks)
		tell_checks(c, s, body_before);
}

static void files_ready(struct session *s, struct mail_status status)
{
	struct content *c = s->content;
	c->stuck = false;
	if (status.fate != MAIL_OK)
		content_refuse(c, mail_status_copy(transaction_arena(s->transaction), status));
	dialog_run(s);
}

void content_written(struct content *c)
{
	if (!c->stuck || message_is_full(c->message))
		return;
	c->stuck = false;
	dialog_run(c->session);
}

/* Memory is full, or the disk is behind: the client waits. */
static void look_after_memory(struct content *c)
{
	if (c->dropping || c->stuck)
		return;
	if (message_wants_spill(c->message)) {
		c->stuck = true;
		transaction_open_files(c->session->transaction, files_ready);
	} else {
		c->stuck = message_is_full(c->message);
	}
}

/* -- the end ------------------------------------------------------------------------------------------------------------------------------------ */

static struct step refuse_all(struct session *s, struct mail_status refusal, bool close)
{
	const struct transaction_facts *t = s->facts.transaction;
	log_event(LOG_INFO, "content-refused", LOG_STR("session", unique_slice(&s->facts.id)), LOG_STR("id", unique_slice(&t->id)),
	          LOG_STR("client", slice_of(s->facts.ip_text)), LOG_STR("from", t->sender), LOG_UINT("code", refusal.code), LOG_STR("text", refusal.text), LOG_END);
	s->smtpd->counts.refused++;
	attack_note_dot(s, t->announced, true, &refusal);
	refusal = session_keep(s, refusal);
	session_reset(s);
	return close ? step_close(refusal) : step_reply(refusal);
}

static struct step spoiled(struct content *c)
{
	struct buf b = BUF_INIT(100);
	buf_addf(&b, "There is %s, only CRLF ends a line", mail_dot_spoil_text(c->dot.spoil));
	struct mail_status refusal = { MAIL_NEVER, 550, { 6, 0 }, buf_slice(&b) };
	c->session->smtpd->counts.smuggling++;
	struct step step = refuse_all(c->session, refusal, true);
	buf_free(&b);
	return step;
}

static struct step finish(struct content *c)
{
	struct session *s = c->session;
	c->open = false;
	conn_set_timeout(s->conn, smtpd_settings.command_timeout_s * 1000);
	if (c->dot.spoil != MAIL_DOT_CLEAN)
		return spoiled(c);
	uint64_t body_before = c->message->body_length;
	if (!c->dropping && message_end(c->message) < 0)
		content_refuse(c, head_too_long());
	if (c->dropping)
		return refuse_all(s, c->refusal, false);
	if (c->wants_checks)
		tell_checks(c, SLICE(""), body_before);
	content_free(c);
	s->content = NULL;
	transaction_decide(s->transaction);
	return STEP_WAITING;
}

static struct step end_chunk(struct content *c)
{
	if (c->last)
		return finish(c);
	c->open = false;
	if (c->dot.spoil != MAIL_DOT_CLEAN)
		content_refuse(c, MAIL_STATUS(MAIL_NEVER, 550, 6, 0, "There is a NUL byte in the content"));
	if (c->dropping)
		return step_reply(c->refusal);
	return REPLY(MAIL_OK, 250, 0, 0, "Ok, go on");
}

static bool take_data(struct content *c, const struct mail_dot_sink *sink)
{
	struct slice in = conn_input(c->session->conn), rest = in;
	bool end = mail_dot_data(&c->dot, &rest, sink);
	conn_consume(c->session->conn, in.n - rest.n);
	return end;
}

static bool take_chunk(struct content *c, const struct mail_dot_sink *sink)
{
	struct slice in = conn_input(c->session->conn);
	size_t n = in.n < c->left ? in.n : (size_t)c->left;
	c->left -= n;
	mail_dot_chunk(&c->dot, slice_head(in, n), c->last && !c->left, sink);
	conn_consume(c->session->conn, n);
	return c->left == 0;
}

bool content_take(struct content *c, struct step *step)
{
	const struct mail_dot_sink sink = { keep, c };
	if (c->stuck || (!c->ended && !conn_input(c->session->conn).n && !(c->chunks && !c->left)))
		return false;
	if (!c->ended)
		c->ended = c->chunks ? take_chunk(c, &sink) : take_data(c, &sink);
	look_after_memory(c);
	if (!c->ended || c->stuck)
		return false;
	c->ended = false;
	*step = c->chunks ? end_chunk(c) : finish(c);
	return true;
}
