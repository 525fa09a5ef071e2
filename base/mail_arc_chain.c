/* ARC sets out of a header section, and the digest of a seal. */
#include "base/mail_arc.h"

#include "base/crypto.h"
#include "base/scan.h"

static const struct slice names[3] = { SLICE_INIT("ARC-Authentication-Results"), SLICE_INIT("ARC-Message-Signature"), SLICE_INIT("ARC-Seal") };

struct slice arc_results_text(const struct mail_field *f, unsigned *instance)
{
	struct slice in = slice_trim(f->value), rest;
	uint64_t n;
	struct slice first = slice_trim(slice_cut(in, ';', &rest));
	struct slice number = SLICE_NONE, name = slice_trim(slice_cut(first, '=', &number));
	number = slice_trim(number);
	if (!rest.p || !slice_eq(name, SLICE("i")) || !scan_uint_all(number, ARC_MAX_INSTANCE, &n) || n == 0)
		return SLICE_NONE;
	*instance = (unsigned)n;
	return rest;
}

/* Puts one field into its place; what is wrong, or NULL. */
static const char *take(struct arc_chain *c, int kind, const struct mail_field *f, struct arena *mem)
{
	struct mail_signature s;
	unsigned instance = 0;
	const char *why = "wrong ARC-Authentication-Results";
	if (kind == 0) {
		if (!arc_results_text(f, &instance).p)
			return why;
	} else {
		if (mail_signature_parse(kind == 1 ? SIGNATURE_ARC_MESSAGE : SIGNATURE_ARC_SEAL, f, mem, false, &s, &why))
			return why;
		instance = s.instance;
	}
	struct arc_set *set = &c->sets[instance - 1];
	const struct mail_field **place = kind == 0 ? &set->results : kind == 1 ? &set->message : &set->seal;
	if (*place)
		return "an ARC field twice";
	*place = f;
	if (kind == 1)
		set->message_signature = s;
	else if (kind == 2)
		set->seal_signature = s;
	if (instance > c->count)
		c->count = instance;
	return NULL;
}

static const char *check_sets(const struct arc_chain *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct arc_set *s = &c->sets[i];
		if (!s->results || !s->message || !s->seal)
			return "an ARC set is not complete";
		if (s->seal_signature.cv == ARC_CV_FAIL)
			return "the chain was sealed as failed";
		if (s->seal_signature.cv != (i ? ARC_CV_PASS : ARC_CV_NONE))
			return "wrong cv= in a seal";
	}
	return NULL;
}

void arc_collect(const struct mail_header *h, struct arena *mem, struct arc_chain *out)
{
	*out = (struct arc_chain){ 0 };
	size_t seen = 0;
	for (size_t i = 0; i < h->count; i++)
		for (int kind = 0; kind < 3; kind++) {
			if (!slice_eq_nocase(h->fields[i].name, names[kind]))
				continue;
			if (!out->sets && !(out->sets = ARENA_ARRAY(mem, struct arc_set, ARC_MAX_INSTANCE)))
				return;
			const char *wrong = ++seen > 3 * ARC_MAX_INSTANCE ? "too many ARC fields" : take(out, kind, &h->fields[i], mem);
			if (wrong && !out->wrong)
				out->wrong = wrong;
		}
	if (seen && !out->wrong)
		out->wrong = check_sets(out);
	if (seen && !out->count && !out->wrong)
		out->wrong = "no ARC set";
}

static void put_set(const struct arc_set *set, bool open, struct mail_digest_sink *sink)
{
	mail_canon_field(CANON_RELAXED, set->results, SLICE_NONE, false, mail_digest_put, sink);
	mail_canon_field(CANON_RELAXED, set->message, SLICE_NONE, false, mail_digest_put, sink);
	mail_canon_field(CANON_RELAXED, set->seal, open ? set->seal_signature.without : SLICE_NONE, open, mail_digest_put, sink);
}

void arc_seal_digest(const struct arc_chain *chain, size_t instance, struct mail_digest *out)
{
	struct mail_digest_sink sink;
	mail_digest_begin(&sink, false);
	bool failed = chain->sets[instance - 1].seal_signature.cv == ARC_CV_FAIL; /* 5.1.2: a seal that says fail covers its own set alone */
	for (size_t i = failed ? instance - 1 : 0; i < instance; i++)
		put_set(&chain->sets[i], i + 1 == instance, &sink);
	mail_digest_end(&sink, out);
}
