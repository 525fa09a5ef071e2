/* ARC validation (RFC 8617, 5.2): form first, then the newest message signature and every seal; each key is asked for once. */
#include "base/mail_arc.h"

#include "base/crypto.h"
#include "base/mail_key.h"
#include "base/mail_tags.h"
#include "base/mem.h"

/* A key that one or more signatures of the chain want. */
struct key {
	struct arc *owner;
	struct slice selector, domain;
	struct mail_dns_query *query;
	struct slice record;             /* p NULL: none that can be read */
	bool unsure;
};

struct arc {
	struct mail_dns *dns;
	struct mail_body *body;
	bool lax, judging, wanted;       /* wanted: keys were asked for, signatures are to be checked */
	struct arena mem;
	struct loop_timer *timer;
	struct mail_signature message, *seals; /* seals, digests and keys: made when there is a chain, which few messages have */
	struct mail_digest *digests;
	size_t count;
	int body_number;
	struct key *keys;                /* count + 1: the message signature's, too */
	size_t key_count, open;
	struct arc_verdict verdict;
	void (*done)(void *arg, struct arc *a);
	void *arg;
};

static void on_key(void *arg, const struct dns_answer *answer)
{
	struct key *k = arg;
	struct arc *a = k->owner;
	const char *why;
	k->query = NULL;
	a->open--;
	k->unsure = answer->answer == UNSURE;
	for (size_t i = 0; answer->answer == FOUND && i < answer->count && !k->record.p; i++)
		if (mail_key_find(answer->records[i].data, &why))
			k->record = arena_copy(&a->mem, answer->records[i].data);
	if (a->judging && !a->open)
		loop_timer_set(a->timer, 0);
}

static struct key *key_of(struct arc *a, const struct mail_signature *s)
{
	for (size_t i = 0; i < a->key_count; i++)
		if (slice_eq(a->keys[i].selector, s->selector) && slice_eq(a->keys[i].domain, s->domain))
			return &a->keys[i];
	struct key *k = &a->keys[a->key_count++];
	*k = (struct key){ .owner = a, .selector = s->selector, .domain = s->domain };
	return k;
}

static void ask_keys(struct arc *a)
{
	key_of(a, &a->message);
	for (size_t i = a->count; i-- > 0;)
		key_of(a, &a->seals[i]);
	for (size_t i = 0; i < a->key_count; i++) {
		struct key *k = &a->keys[i];
		struct buf name = BUF_INIT(512);
		buf_addf(&name, "%.*s._domainkey.%.*s", SLICE_FMT(k->selector), SLICE_FMT(k->domain));
		a->open++;
		k->query = mail_dns_ask(a->dns, DNS_TXT, buf_slice(&name), on_key, k);
		buf_free(&name);
	}
	a->wanted = true;
}

/* The digests of all seals, each set read twice: a running digest over whole sets, and a copy of it for each seal. */
static void seal_digests(struct arc *a, const struct arc_chain *chain)
{
	struct crypto_hash *running = crypto_sha256_new();
	for (size_t i = 0; i < chain->count; i++) {
		const struct arc_set *set = &chain->sets[i];
		struct mail_digest_sink sink = { .hash = running };
		mail_canon_field(CANON_RELAXED, set->results, SLICE_NONE, false, mail_digest_put, &sink);
		mail_canon_field(CANON_RELAXED, set->message, SLICE_NONE, false, mail_digest_put, &sink);
		crypto_hash_add(running, slice(sink.bytes, sink.n));
		struct mail_digest_sink own = { .hash = crypto_hash_copy(running) };
		mail_canon_field(CANON_RELAXED, set->seal, set->seal_signature.without, true, mail_digest_put, &own);
		mail_digest_end(&own, &a->digests[i]);
		sink.n = 0;
		mail_canon_field(CANON_RELAXED, set->seal, SLICE_NONE, false, mail_digest_put, &sink);
		crypto_hash_add(running, slice(sink.bytes, sink.n));
	}
	crypto_hash_drop(running);
}

static bool signs_from(const struct mail_signature *s)
{
	struct slice list = s->names, item;
	while (mail_tags_item(&list, ':', &item))
		if (slice_eq_nocase(item, SLICE("from")))
			return true;
	return false;
}

static void finish(struct arc *a, enum arc_result result, const char *why)
{
	a->verdict.result = result;
	a->verdict.why = why;
}

static void begin(struct arc *a, const struct mail_header *h)
{
	struct arc_chain chain;
	arc_collect(h, &a->mem, &chain);
	struct mail_names *names = chain.count ? mail_names_new(h, &a->mem) : NULL;
	a->verdict.instance = (unsigned)chain.count;
	a->verdict.selector = SLICE("");
	const struct arc_set *newest = chain.count ? &chain.sets[chain.count - 1] : NULL;
	a->verdict.sealed_fail = newest && newest->seal && newest->seal_signature.cv == ARC_CV_FAIL;
	if (!names || chain.wrong) {
		finish(a, chain.wrong ? ARC_FAIL : ARC_NONE, chain.wrong);
		return;
	}
	a->count = chain.count;
	a->seals = mem_new_array(chain.count, sizeof *a->seals);
	a->digests = mem_new_array(chain.count, sizeof *a->digests);
	a->keys = mem_new_array(chain.count + 1, sizeof *a->keys);
	for (size_t i = 0; i < chain.count; i++) {
		unsigned n;
		a->seals[i] = chain.sets[i].seal_signature;
		a->verdict.sealer[i] = a->seals[i].domain;
		a->verdict.results[i] = arena_copy(&a->mem, arc_results_text(chain.sets[i].results, &n));
	}
	a->message = newest->message_signature;
	a->verdict.selector = a->seals[chain.count - 1].selector;
	mail_signature_digest(&a->message, h, names, newest->message, &a->verdict.header_hash);
	seal_digests(a, &chain);
	a->verdict.signs_from = signs_from(&a->message);
	a->message.names = SLICE_NONE;
	a->body_number = mail_body_want(a->body, a->message.body_form, a->message.algorithm == ALGORITHM_RSA_SHA1, a->message.length);
	if (a->body_number < 0)
		finish(a, ARC_FAIL, "too many bodies");
	else
		ask_keys(a);
}

/* One signature of the chain; NULL when it is good. */
static const char *check(struct arc *a, const struct mail_signature *s, const struct mail_digest *digest, bool *unsure)
{
	struct key *k = key_of(a, s);
	const char *why;
	unsigned bits = 0;
	*unsure = k->unsure;
	if (k->unsure)
		return "key can't be asked for now";
	if (!k->record.p)
		return "no key";
	if (s->algorithm == ALGORITHM_RSA_SHA1) /* never one of ARC's (8617, 4.1) */
		return "rsa-sha1 is no signature";
	struct mail_key *key = mail_key_find(k->record, &why);
	return key ? mail_key_verify(key, s, digest, a->lax, &bits) : why;
}

static void judge(struct arc *a)
{
	bool unsure = false;
	struct arc_verdict *v = &a->verdict;
	bool whole = mail_body_digest(a->body, a->body_number, &v->body_hash);
	if (!whole || !slice_eq(slice((const char *)v->body_hash.bytes, v->body_hash.n), a->message.body_hash))
		return finish(a, ARC_FAIL, "body hash does not match");
	if (a->message.length != MAIL_BODY_WHOLE && !a->lax)
		return finish(a, ARC_FAIL, "l= signs only a part of the body");
	const char *wrong = check(a, &a->message, &v->header_hash, &unsure);
	for (size_t i = a->count; !wrong && i-- > 0;)
		wrong = check(a, &a->seals[i], &a->digests[i], &unsure);
	finish(a, !wrong ? ARC_PASS : unsure ? ARC_TEMPERROR : ARC_FAIL, wrong);
}

static void on_timer(void *arg)
{
	struct arc *a = arg;
	if (a->wanted)
		judge(a);
	a->done(a->arg, a);
}

struct arc *arc_start(struct mail_dns *dns, const struct mail_header *header, struct mail_body *body, bool lax)
{
	struct arc *a = MEM_NEW(struct arc);
	a->dns = dns;
	a->body = body;
	a->lax = lax;
	a->mem.max = 8 << 20;
	a->timer = loop_timer_new(mail_dns_loop(dns), on_timer, a);
	begin(a, header);
	return a;
}

void arc_judge(struct arc *a, void (*done)(void *arg, struct arc *a), void *arg)
{
	a->done = done;
	a->arg = arg;
	a->judging = true;
	if (!a->open)
		loop_timer_set(a->timer, 0);
}

const struct arc_verdict *arc_verdict(const struct arc *a)
{
	return &a->verdict;
}

void arc_free(struct arc *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->key_count; i++)
		mail_dns_cancel(a->keys[i].query);
	loop_timer_free(a->timer);
	mem_free(a->seals);
	mem_free(a->digests);
	mem_free(a->keys);
	arena_free(&a->mem);
	mem_free(a);
}

const char *arc_result_name(enum arc_result r)
{
	switch (r) {
	case ARC_NONE: return "none";
	case ARC_PASS: return "pass";
	case ARC_FAIL: return "fail";
	case ARC_TEMPERROR: return "temperror";
	}
	return "none";
}
