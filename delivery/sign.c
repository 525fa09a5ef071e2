/* Signing through the keeper: fields are written without their signature, their digests go out, and what comes back is put in. */
#include "delivery/sign.h"

#include <errno.h>

#include "base/mail_sign.h"
#include "base/mem.h"

enum { MAX_FIELD = 32 << 10, MAX_FIELDS = 128 << 10 };

/* One field under way. */
struct one {
	struct signing *owner;
	struct keeper_question *question;
	enum mail_signature_kind kind;
	struct buf field;
	size_t at;
	int error;
};

struct signing {
	struct keeper *keeper;
	struct arena mem;
	struct one list[SIGNERS_MAX];
	size_t count, open;
	struct mail_sign arc;            /* a seal: what comes after its message signature */
	struct arc_chain chain;
	struct buf results, header;      /* header: a copy, which the chain points into */
	bool sealing;
	signing_done done;
	void *arg;
};

static struct signing *signing_new(struct keeper *k, signing_done done, void *arg)
{
	struct signing *s = MEM_NEW(struct signing);
	s->keeper = k;
	s->mem.max = 8 << 20;
	buf_init(&s->results, MAX_FIELD);
	buf_init(&s->header, 2 << 20);
	s->done = done;
	s->arg = arg;
	return s;
}

static void finish(struct signing *s)
{
	struct buf all = BUF_INIT(MAX_FIELDS);
	int error = 0;
	for (size_t i = s->count; i-- > 0;) {
		error = error ? error : s->list[i].error;
		buf_add(&all, buf_slice(&s->list[i].field));
	}
	buf_add(&all, buf_slice(&s->results));
	if (!error && buf_full(&all))
		error = -EMSGSIZE;
	s->done(s->arg, error, error ? SLICE("") : buf_slice(&all)); /* s may be gone */
	buf_free(&all);
}

static void seal(struct signing *s);

static void on_signed(void *arg, int error, struct slice out, unsigned number)
{
	struct one *o = arg;
	struct signing *s = o->owner;
	(void)number;
	o->question = NULL;
	if (!o->error)
		o->error = error ? error : mail_sign_end(o->kind, &o->field, o->at, out);
	if (--s->open)
		return;
	if (s->sealing && o->kind == SIGNATURE_ARC_MESSAGE && !o->error)
		seal(s);
	else
		finish(s);
}

static void ask(struct one *o, const struct mail_sign *p, const struct mail_digest *digest)
{
	struct buf name = BUF_INIT(512);
	buf_addf(&name, "%.*s._domainkey.%.*s", SLICE_FMT(p->selector), SLICE_FMT(p->domain));
	o->owner->open++;
	o->question = keeper_sign_dkim(o->owner->keeper, buf_slice(&name), slice((const char *)digest->bytes, digest->n), on_signed, o);
	buf_free(&name);
}

static struct one *next_one(struct signing *s, enum mail_signature_kind kind)
{
	struct one *o = &s->list[s->count++];
	*o = (struct one){ .owner = s, .kind = kind };
	buf_init(&o->field, MAX_FIELD);
	return o;
}

struct signing *signing_dkim(struct keeper *k, const struct signers *keys, const struct mail_header *h, const struct mail_digest *body, int64_t now_s,
                             signing_done done, void *arg)
{
	struct signing *s = signing_new(k, done, arg);
	struct mail_sign p = { .kind = SIGNATURE_DKIM, .header_form = CANON_RELAXED, .body_form = CANON_RELAXED, .domain = keys->domain, .made_s = now_s };
	struct buf names = BUF_INIT(MAX_FIELD);
	mail_sign_names(h, false, &names);
	p.names = buf_slice(&names);
	for (size_t i = 0; i < keys->count; i++) {
		struct one *o = next_one(s, SIGNATURE_DKIM);
		struct mail_digest digest = { .n = 0 };
		p.selector = keys->list[i].selector;
		p.algorithm = keys->list[i].ed25519 ? ALGORITHM_ED25519_SHA256 : ALGORITHM_RSA_SHA256;
		o->error = mail_sign_message(&p, h, body, &o->field, &o->at, &digest);
		ask(o, &p, &digest); /* also after an error: done comes from the loop */
	}
	buf_free(&names);
	return s;
}

/* The message signature is there: the seal covers it, the results and all sets below. */
static void seal(struct signing *s)
{
	struct mail_field results = mail_sign_field(buf_slice(&s->results)), message = mail_sign_field(buf_slice(&s->list[0].field));
	struct one *o = next_one(s, SIGNATURE_ARC_SEAL);
	struct mail_digest digest = { .n = 0 };
	s->arc.kind = SIGNATURE_ARC_SEAL;
	o->error = mail_sign_seal(&s->arc, &s->chain, &results, &message, &o->field, &o->at, &digest);
	ask(o, &s->arc, &digest);
}

struct signing *signing_arc(struct keeper *k, const struct signing_seal *p, const struct mail_header *h, const struct mail_digest *body, signing_done done,
                            void *arg)
{
	struct signing *s = signing_new(k, done, arg);
	struct mail_header own;
	struct buf names = BUF_INIT(MAX_FIELD);
	struct mail_digest digest = { .n = 0 };
	struct one *o = next_one(s, SIGNATURE_ARC_MESSAGE);
	s->sealing = true;
	buf_add(&s->header, h->section);
	mail_header_parse(buf_slice(&s->header), SIZE_MAX, &s->mem, &own);
	arc_collect(&own, &s->mem, &s->chain);
	s->arc = (struct mail_sign){ .kind = SIGNATURE_ARC_MESSAGE, .header_form = CANON_RELAXED, .body_form = CANON_RELAXED, .made_s = p->now_s, .cv = p->cv };
	s->arc.algorithm = p->ed25519 ? ALGORITHM_ED25519_SHA256 : ALGORITHM_RSA_SHA256;
	s->arc.domain = arena_copy(&s->mem, p->domain);
	s->arc.selector = arena_copy(&s->mem, p->selector);
	s->arc.instance = (unsigned)s->chain.count + 1;
	buf_addf(&s->results, "ARC-Authentication-Results: i=%u; %.*s\r\n", s->arc.instance, SLICE_FMT(p->results));
	mail_sign_names(h, true, &names);
	s->arc.names = arena_copy(&s->mem, buf_slice(&names));
	buf_free(&names);
	o->error = mail_sign_message(&s->arc, h, body, &o->field, &o->at, &digest);
	ask(o, &s->arc, &digest);
	return s;
}

void signing_free(struct signing *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		keeper_cancel(s->list[i].question);
		buf_free(&s->list[i].field);
	}
	buf_free(&s->results);
	buf_free(&s->header);
	arena_free(&s->mem);
	mem_free(s);
}
