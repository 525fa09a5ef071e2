/* DMARC's policy at the dot. */
#include "smtpd/evidence_policy.h"

#include "base/mail_authres.h"
#include "maps/signers.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/smtpd.h"

/* For this author, where the sealer says for whom: what passed for another one is another matter. */
static bool has_dmarc_pass(struct slice results, struct slice author)
{
	struct authres_item item;
	if (!authres_skip_id(&results))
		return false;
	while (authres_next(&results, &item))
		if (slice_eq_nocase(item.method, SLICE("dmarc"))) {
			struct slice from = authres_find(&item, SLICE("header.from"));
			return slice_eq_nocase(item.result, SLICE("pass")) && (!from.n || slice_eq_nocase(from, author));
		}
	return false;
}

enum answer evidence_policy_arc(struct map_set *maps, const struct arc_verdict *arc, struct slice author)
{
	bool good = false;
	if (!arc || (arc->result != ARC_PASS && arc->result != ARC_TEMPERROR) || !arc->signs_from)
		return ABSENT;
	for (unsigned i = arc->instance; i-- > 0 && !good;) {
		struct arena mem = ARENA_INIT(16 << 10);
		enum answer believed = maps ? sealers_find(maps, arc->sealer[i], &mem) : UNSURE;
		arena_free(&mem);
		if (believed != FOUND)
			return believed;
		good = has_dmarc_pass(arc->results[i], author);
	}
	return !good ? ABSENT : arc->result == ARC_PASS ? FOUND : UNSURE;
}

/* Would it pass whatever the policy says? An identifier that is the author's own domain needs no policy to be aligned. */
static bool passes_anyway(const struct mail_check_results *r, struct slice sender_domain)
{
	struct slice author = r->dmarc->author;
	if (r->spf && r->spf->result == SPF_PASS && !r->spf_is_helo && slice_eq_nocase(sender_domain, author))
		return true;
	for (size_t i = 0; i < r->dkim_count; i++)
		if (r->dkim[i].result == DKIM_PASS && slice_eq_nocase(r->dkim[i].domain, author))
			return true;
	return false;
}

/* The policy is known, and asks for nothing whatever comes of the rest. */
static bool is_harmless(const struct dmarc_verdict *v)
{
	return v->domain.n && v->policy == DMARC_POLICY_NONE;
}

/* More than one author's domain, or one that can't be told, is a way around DMARC (RFC 9989, 11.5); no author at all is only bad manners. */
static void judge_from(const struct mail_check_results *r, struct evidence_policy *out)
{
	if (r->from_hides)
		out->status = MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "There must be exactly one From field, with authors of one domain that can be read");
}

static struct mail_status rejected(struct check *c, const struct dmarc_verdict *v)
{
	struct buf b = BUF_INIT(400);
	buf_addf(&b, "The DMARC policy of %.*s refuses this: neither SPF nor DKIM passed for the domain in From", SLICE_FMT(slice_head(v->domain, 253)));
	struct mail_status s = MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "The DMARC policy of the domain in From refuses this");
	struct slice text = arena_copy(check_arena(c), buf_slice(&b));
	if (text.p)
		s.text = text;
	buf_free(&b);
	return s;
}

static void judge_failure(struct check *c, const struct mail_check_results *r, struct evidence_policy *out)
{
	const struct dmarc_verdict *v = r->dmarc;
	if (v->policy != v->published)
		out->override = "policy_test_mode";
	if (v->policy == DMARC_POLICY_NONE)
		return;
	switch (evidence_policy_arc(check_smtpd(c)->maps, r->arc, v->author)) {
	case FOUND:
		out->override = "trusted_forwarder";
		out->tag = SLICE("dmarc-arc");
		return;
	case UNSURE:
		if (slice_eq(evidence_settings.dmarc, SLICE("apply"))) {
			out->status = MAIL_STATUS(MAIL_LATER, 451, 7, 1, "The ARC seal that speaks for this message can't be checked just now");
			return;
		}
		break;
	case ABSENT:
		break;
	}
	out->tag = v->policy == DMARC_POLICY_REJECT ? SLICE("dmarc-reject") : SLICE("dmarc-quarantine");
	if (v->policy != DMARC_POLICY_REJECT)
		return;
	if (slice_eq(evidence_settings.dmarc, SLICE("apply")))
		out->status = rejected(c, v);
	else
		out->override = "local_policy";
}

void evidence_policy_judge(struct check *c, const struct mail_check_results *r, bool by_pass, struct evidence_policy *out)
{
	*out = (struct evidence_policy){ .status = MAIL_STATUS_OK, .tag = SLICE("") };
	if (by_pass || slice_eq(evidence_settings.dmarc, SLICE("ignore"))) {
		out->override = "local_policy";
		return;
	}
	if (!r->dmarc) {
		judge_from(r, out);
		return;
	}
	switch (r->dmarc->result) {
	case DMARC_NONE:
	case DMARC_PASS:
	case DMARC_PERMERROR:
		break;
	case DMARC_TEMPERROR:
		if (is_harmless(r->dmarc) || evidence_policy_arc(check_smtpd(c)->maps, r->arc, r->dmarc->author) == FOUND)
			break;
		if (!passes_anyway(r, check_facts(c)->transaction->reverse_path.domain) && slice_eq(evidence_settings.dmarc, SLICE("apply")))
			out->status = MAIL_STATUS(MAIL_LATER, 451, 7, 1, "The DMARC policy of the domain in From can't be checked just now");
		break;
	case DMARC_FAIL:
		judge_failure(c, r, out);
		break;
	}
}
