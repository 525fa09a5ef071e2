/* rule.md's table, from its top to its bottom: the first line that holds gives the grade. */
#include "smtpd/evidence_grade.h"

#include "base/buf.h"

static struct slice print(struct arena *mem, const char *before, struct slice what, const char *behind)
{
	struct buf b = BUF_INIT(1024);
	buf_addf(&b, "%s%.*s%s", before, SLICE_FMT(slice_head(what, 300)), behind);
	struct slice text = arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return text;
}

static void set(struct evidence *out, enum evidence_grade grade, struct slice who, struct slice reason)
{
	*out = (struct evidence){ grade, who.p ? who : SLICE(""), reason.p ? reason : SLICE("") };
}

/* The reason why a pass proves nothing, or NULL. */
static const char *weakness(const struct evidence_facts *f)
{
	static const struct { unsigned bit; const char *text; } words[] = {
		{ SPF_WEAK_ALL, "SPF passes for everybody (all)" }, { SPF_WEAK_EXISTS, "SPF passed by exists" }, { SPF_WEAK_PTR, "SPF passed by ptr" },
		{ SPF_WEAK_MACRO, "SPF passed by a macro" }, { SPF_WEAK_WIDE, "SPF passed by too wide a range" },
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (f->spf->weak & words[i].bit)
			return words[i].text;
	return f->hoster ? "SPF passed at a shared hoster's" : NULL;
}

bool evidence_is_aligned(struct slice signer, struct slice domain)
{
	struct slice shorter = signer.n < domain.n ? signer : domain, longer = signer.n < domain.n ? domain : signer;
	if (slice_eq_nocase(signer, domain))
		return signer.n > 0;
	return slice_find(shorter, '.') < shorter.n && longer.n > shorter.n && slice_ends_nocase(longer, shorter) && longer.p[longer.n - shorter.n - 1] == '.';
}

static const struct dkim_verdict *aligned_signature(const struct evidence_facts *f)
{
	for (size_t i = 0; i < f->dkim_count; i++)
		if (f->dkim[i].result == DKIM_PASS && !f->dkim[i].testing && evidence_is_aligned(f->dkim[i].domain, f->domain))
			return &f->dkim[i];
	return NULL;
}

static struct slice spf_reason(const struct evidence_facts *f, struct arena *mem)
{
	if (!f->spf)
		return SLICE("SPF was not checked");
	if (f->spf->result != SPF_PASS)
		return print(mem, "SPF says ", slice_of(spf_result_name(f->spf->result)), "");
	const char *weak = weakness(f);
	return slice_of(weak ? weak : "SPF passed");
}

void evidence_grade(const struct evidence_facts *f, struct arena *mem, struct evidence *out)
{
	const struct dkim_verdict *signature;
	if (f->login.n && f->login_may)
		return set(out, EVIDENCE_AUTH, f->login, print(mem, "login ", f->login, " may use this path"));
	if (f->user.n && f->user_may)
		return set(out, EVIDENCE_LOCAL, f->user, print(mem, "local user ", f->user, " may use this path"));
	if (!f->domain.n)
		return set(out, EVIDENCE_NONE, SLICE(""), SLICE("the null reverse-path proves nobody; HELO alone never does"));
	if (f->client.n)
		return set(out, EVIDENCE_CLIENT, f->client, print(mem, "client ", f->client, " may speak for this domain"));
	if (f->spf && f->spf->result == SPF_PASS && !f->spf_is_helo && !weakness(f))
		return set(out, EVIDENCE_SPF, f->domain, print(mem, "SPF passed for ", f->domain, ""));
	if ((signature = aligned_signature(f)))
		return set(out, EVIDENCE_DKIM, signature->domain, print(mem, "signed by ", signature->domain, ", which can be replayed"));
	set(out, EVIDENCE_NONE, SLICE(""), spf_reason(f, mem));
}
