/* The check `signing`: DKIM on mail that our own people hand in, an ARC seal on what strangers send through us. The body's digest is made while content comes; at
 * the dot, when the head is what will leave, the keeper signs by every key of the author's domain. */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mail_author.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/sign.h"
#include "delivery/srs.h"
#include "maps/domains.h"
#include "smtpd/author.h"
#include "smtpd/body_digest.h"
#include "smtpd/evidence.h"
#include "smtpd/evidence_seal.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/smtpd.h"

struct signing_state {
	struct check *c;
	struct mail_body *body;      /* NULL: nobody signs this one */
	int number;
	struct arena mem;
	struct signers keys;
	struct body_digest again;
	struct signing *signing;
	struct evidence_seal *seal;
	struct keeper_question *tag; /* BATV: the reverse-path's hash */
	char tag_data[BATV_MAX_DATA];
	unsigned tag_number;
};

static void *begin(struct check *c)
{
	struct smtpd *d = check_smtpd(c);
	bool inner = d->maps && map_size(d->maps, MAP_CLIENTS); /* a server of ours may hand its mail in on port 25 */
	if (check_facts(c)->listener == LISTENER_MX && !evidence_settings.arc_seal.n && !inner)
		return NULL;
	struct signing_state *s = MEM_NEW(struct signing_state);
	s->c = c;
	s->mem.max = 64 << 10;
	check_adds_fields(c);
	return s;
}

static void on_head(void *state, struct check *c, struct slice head)
{
	struct signing_state *s = state;
	struct smtpd *d = check_smtpd(c);
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	struct slice domain;
	bool wanted = evidence_settings.dkim_sign && check_facts(c)->transaction->evidence.grade >= EVIDENCE_CLIENT;
	if (wanted && !s->body && d->maps && d->keeper && mail_header_parse(head, SIZE_MAX, &mem, &h) == 0 && mail_author_written(&h, &mem, &domain) == 0 &&
	    signers_find(d->maps, domain, &s->mem, &s->keys) == FOUND && author_may_be_signed(c, &h)) {
		s->body = mail_body_new();
		s->number = mail_body_want(s->body, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	}
	arena_free(&mem);
}

static void on_body(void *state, struct check *c, struct slice bytes)
{
	struct signing_state *s = state;
	(void)c;
	if (s->body)
		mail_body_add(s->body, bytes);
}

static void answer(struct signing_state *s, int error)
{
	if (error) {
		log_event(LOG_ERROR, "sign", LOG_STR("id", unique_slice(&check_facts(s->c)->transaction->id)), LOG_STR("domain", s->keys.domain), LOG_ERRNO(error), LOG_END);
		check_refuse(s->c, MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The message can't be signed just now"));
	}
	check_answer(s->c, error ? CHECK_REFUSE : CHECK_GO_ON);
}

static void on_signed(void *arg, int error, struct slice fields)
{
	struct signing_state *s = arg;
	if (!error)
		evidence_add_fields(s->c, fields);
	answer(s, error);
}

/* The header as it will leave: what checks put on top, then what came. */
static bool sign(struct signing_state *s, const struct mail_digest *body)
{
	struct message *m = check_message(s->c);
	struct buf head = BUF_INIT(m->head.n + m->added.n);
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	buf_add(&head, buf_slice(&m->added));
	buf_add(&head, buf_slice(&m->head));
	s->signing = mail_header_parse(buf_slice(&head), SIZE_MAX, &mem, &h) ? NULL :
	             signing_dkim(check_smtpd(s->c)->keeper, &s->keys, &h, body, clock_wall_s(), on_signed, s);
	arena_free(&mem);
	buf_free(&head);
	return s->signing != NULL;
}

static void on_digest(void *arg, int error, const struct mail_digest *digest)
{
	if (error || !sign(arg, digest))
		answer(arg, error ? error : -EMSGSIZE);
}

static void on_sealed(void *arg, struct mail_status status)
{
	struct signing_state *s = arg;
	if (status.fate != MAIL_OK)
		check_refuse(s->c, status);
	check_answer(s->c, status.fate == MAIL_OK ? CHECK_GO_ON : CHECK_REFUSE);
}

static enum check_step sign_now(struct signing_state *s)
{
	struct mail_digest body;
	if (!s->body) {
		s->seal = evidence_begin_seal(s->c, on_sealed, s);
		return s->seal ? CHECK_WAIT : CHECK_GO_ON;
	}
	if (check_message(s->c)->body_replaced) {
		body_digest_start(&s->again, check_message(s->c), on_digest, s);
		return CHECK_WAIT;
	}
	mail_body_end(s->body);
	mail_body_digest(s->body, s->number, &body);
	if (sign(s, &body))
		return CHECK_WAIT;
	check_refuse(s->c, MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The message can't be signed just now"));
	return CHECK_REFUSE;
}

/* -- the reverse-path's tag (BATV), for domains that have them ------------------------------------------------------------- */

static bool leaves_the_house(const struct transaction_facts *t)
{
	for (size_t i = 0; i < t->recipient_count; i++)
		for (size_t k = 0; k < t->recipients[i]->resolved.count; k++)
			if (t->recipients[i]->resolved.leaves[k].kind == LEAF_HOP)
				return true;
	return false;
}

static bool wants_tag(struct check *c)
{
	const struct transaction_facts *t = check_facts(c)->transaction;
	struct smtpd *d = check_smtpd(c);
	struct arena mem = ARENA_INIT(16 << 10);
	struct map_domain domain;
	bool ours = check_facts(c)->listener != LISTENER_MX || t->evidence.grade >= EVIDENCE_CLIENT;
	bool wants = ours && t->sender.n && d->maps && d->keeper && leaves_the_house(t) &&
	             !slice_starts_nocase(t->reverse_path.local_part, SLICE("prvs=")) &&
	             domains_find(d->maps, t->reverse_path.domain, &mem, &domain) == FOUND && domain.batv;
	arena_free(&mem);
	return wants;
}

static bool ask_tag(struct signing_state *s, int number);

static void on_tag(void *arg, int error, struct slice out, unsigned number)
{
	struct signing_state *s = arg;
	const struct transaction_facts *t = check_facts(s->c)->transaction;
	struct buf local = BUF_INIT(400);
	s->tag = NULL;
	bool again = !error && number != s->tag_number; /* the newest key has another number, which is hashed, too */
	if (again && ask_tag(s, (int)number))
		return;
	if (again || error || out.n < 3 || batv_print((const uint8_t *)out.p, s->tag_data, t->reverse_path.local_part, &local)) {
		check_refuse(s->c, MAIL_STATUS(MAIL_LATER, 451, 7, 5, "The reverse-path can't be tagged just now"));
		check_answer(s->c, CHECK_REFUSE);
		return;
	}
	struct mail_path tagged = { .local_part = buf_slice(&local), .domain = t->reverse_path.domain, .utf8 = t->reverse_path.utf8 };
	if (mail_path_fits(&tagged)) /* too long: as it was */
		check_change_sender(s->c, &tagged);
	buf_free(&local);
	enum check_step step = sign_now(s);
	if (step != CHECK_WAIT)
		check_answer(s->c, step);
}

/* number -1: the newest key, whose number the answer tells. */
static bool ask_tag(struct signing_state *s, int number)
{
	const struct transaction_facts *t = check_facts(s->c)->transaction;
	s->tag_number = number < 0 ? 0 : (unsigned)number;
	struct slice folded = text_lower(check_arena(s->c), t->reverse_path.local_part); /* others may fold it on the way back */
	size_t n = batv_data(s->tag_number, folded, t->reverse_path.domain, clock_wall_s(), s->tag_data);
	if (!n)
		return false;
	s->tag = keeper_mac(check_smtpd(s->c)->keeper, SLICE("batv"), number, 1, slice(s->tag_data, n), on_tag, s);
	return true;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct signing_state *s = state;
	if (stage != CHECK_DOT)
		return CHECK_GO_ON;
	if (wants_tag(c) && ask_tag(s, -1))
		return CHECK_WAIT;
	return sign_now(s);
}

static void forget(struct signing_state *s)
{
	keeper_cancel(s->tag);
	s->tag = NULL;
	signing_free(s->signing);
	evidence_seal_free(s->seal);
	mail_body_free(s->body);
	body_digest_end(&s->again);
	arena_reset(&s->mem);
	s->signing = NULL;
	s->seal = NULL;
	s->body = NULL;
}

static void reset(void *state, struct check *c)
{
	(void)c;
	forget(state);
}

static void cancel(void *state, struct check *c)
{
	(void)c;
	forget(state);
}

static void end(void *state)
{
	struct signing_state *s = state;
	forget(s);
	arena_free(&s->mem);
	mem_free(s);
}

const struct check_kind signing_check = { "signing", NULL, begin, run, on_head, on_body, cancel, reset, end };
