/* Sealing: the body's digest was made while content came, or is made again where a filter changed the body; then the keeper signs twice. */
#include "smtpd/evidence_seal.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "delivery/sign.h"
#include "smtpd/body_digest.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/smtpd.h"

struct evidence_seal {
	struct check *c;
	struct signing_seal plan;
	struct signers keys;
	struct buf results;
	struct arena mem;
	struct body_digest again;
	struct signing *signing;
	void (*done)(void *arg, struct mail_status status);
	void *arg;
};

static bool is_remote(enum leaf_kind kind)
{
	return kind == LEAF_HOP;
}

static bool goes_on(const struct transaction_facts *t)
{
	for (size_t i = 0; i < t->recipient_count; i++)
		for (size_t k = 0; k < t->recipients[i]->resolved.count; k++)
			if (is_remote(t->recipients[i]->resolved.leaves[k].kind))
				return true;
	return false;
}

/* From the last to the first: each goes on top of those before. */
void evidence_add_fields(struct check *c, struct slice fields)
{
	struct mail_field list[8];
	size_t count = 0;
	while (count < sizeof list / sizeof *list && mail_field_next(&fields, &list[count]) == MAIL_FIELD)
		count++;
	while (count-- > 0)
		check_add_field(c, list[count].name, slice_trim(list[count].value));
}

static void on_signed(void *arg, int error, struct slice fields)
{
	struct evidence_seal *s = arg;
	const struct session_facts *f = check_facts(s->c);
	if (error)
		log_event(LOG_ERROR, "seal", LOG_STR("id", unique_slice(&f->transaction->id)), LOG_STR("domain", s->plan.domain), LOG_ERRNO(error), LOG_END);
	else
		evidence_add_fields(s->c, fields);
	/* without a seal the next host judges as if nobody had forwarded: worse for the mail, no lie */
	s->done(s->arg, error == -EAGAIN || error == -ETIMEDOUT ? MAIL_STATUS_UNSURE("The message can't be sealed just now") : MAIL_STATUS_OK);
}

/* False: the header section can't be read, and done won't come. */
static bool sign(struct evidence_seal *s, const struct mail_digest *body)
{
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	if (mail_header_parse(buf_slice(&check_message(s->c)->head), SIZE_MAX, &mem, &h) == 0)
		s->signing = signing_arc(check_smtpd(s->c)->keeper, &s->plan, &h, body, on_signed, s);
	arena_free(&mem);
	return s->signing != NULL;
}

static void on_digest(void *arg, int error, const struct mail_digest *digest)
{
	struct evidence_seal *s = arg;
	if (error || !sign(s, digest))
		s->done(s->arg, MAIL_STATUS_UNSURE("The message can't be sealed just now"));
}

static enum arc_cv cv_of(const struct arc_verdict *v)
{
	return v->result == ARC_NONE ? ARC_CV_NONE : v->result == ARC_PASS ? ARC_CV_PASS : ARC_CV_FAIL;
}

struct evidence_seal *evidence_seal_start(struct check *c, const struct mail_check *check, const struct mail_check_results *r, struct slice results,
                                          void (*done)(void *arg, struct mail_status status), void *arg)
{
	struct smtpd *d = check_smtpd(c);
	const struct arc_verdict *v = r->arc;
	if (!evidence_settings.arc_seal.n || !d->maps || !d->keeper || !v || v->result == ARC_TEMPERROR || v->sealed_fail || v->instance >= ARC_MAX_INSTANCE ||
	    !goes_on(check_facts(c)->transaction))
		return NULL;
	struct evidence_seal *s = MEM_NEW(struct evidence_seal);
	*s = (struct evidence_seal){ .c = c, .done = done, .arg = arg, .mem = ARENA_INIT(16 << 10) };
	if (signers_find(d->maps, evidence_settings.arc_seal, &s->mem, &s->keys) != FOUND) {
		evidence_seal_free(s);
		return NULL;
	}
	buf_init(&s->results, 64 << 10);
	buf_add(&s->results, results);
	s->plan = (struct signing_seal){ .domain = s->keys.domain, .selector = s->keys.list[0].selector, .ed25519 = s->keys.list[0].ed25519,
		                         .results = buf_slice(&s->results), .cv = cv_of(v), .now_s = clock_wall_s() };
	struct mail_digest body;
	if (check_message(c)->body_replaced) {
		body_digest_start(&s->again, check_message(c), on_digest, s);
		return s;
	}
	mail_check_body_digest(check, &body);
	if (sign(s, &body))
		return s;
	evidence_seal_free(s);
	return NULL;
}

void evidence_seal_free(struct evidence_seal *s)
{
	if (!s)
		return;
	signing_free(s->signing);
	body_digest_end(&s->again);
	buf_free(&s->results);
	arena_free(&s->mem);
	mem_free(s);
}
