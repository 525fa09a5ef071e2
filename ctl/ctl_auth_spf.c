/* `porterctl auth spf` and `dmarc`: one question without a message. */
#include "ctl/ctl_auth.h"

#include "base/mail_dmarc.h"
#include "base/mail_spf.h"
#include "base/text.h"

struct asking {
	struct auth_tool *t;
	struct buf steps;
	size_t step_count;
};

static void on_step(void *arg, size_t depth, struct slice domain, struct slice term, const char *outcome)
{
	struct asking *k = arg;
	struct buf *out = &k->steps;
	if (k->t->ctl->json) {
		buf_addf(out, "%s{\"depth\":%zu", k->step_count++ ? "," : "", depth);
		auth_json_str(out, "domain", domain, false);
		auth_json_str(out, "term", term, false);
		auth_json_str(out, "outcome", slice_of(outcome), false);
		buf_add_byte(out, '}');
		return;
	}
	buf_addf(out, "  %*s", (int)depth * 2, "");
	text_add_escaped(out, domain);
	buf_add_byte(out, ' ');
	text_add_escaped(out, term);
	buf_addf(out, "%s%s\n", term.n ? " " : "", outcome);
}

static void on_spf(void *arg, struct spf *s)
{
	struct asking *k = arg;
	(void)s;
	loop_stop(k->t->loop);
}

static const struct { unsigned bit; const char *word; } weak_words[] = {
	{ SPF_WEAK_ALL, "all" }, { SPF_WEAK_EXISTS, "exists" }, { SPF_WEAK_PTR, "ptr" }, { SPF_WEAK_MACRO, "macro" }, { SPF_WEAK_WIDE, "wide range" },
};

static void add_weak(struct buf *out, unsigned weak, const char *mark)
{
	size_t count = 0;
	for (size_t i = 0; i < sizeof weak_words / sizeof *weak_words; i++)
		if (weak & weak_words[i].bit)
			buf_addf(out, "%s%s%s%s", count++ ? mark[0] ? "," : ", " : "", mark, weak_words[i].word, mark);
}

static void spf_json(struct asking *k, const struct spf_verdict *v, const struct auth_answers *a)
{
	struct buf *out = &k->t->out;
	buf_addf(out, "{\"spf\":{\"result\":\"%s\"", spf_result_name(v->result));
	auth_json_str(out, "reason", v->why ? slice_of(v->why) : SLICE(""), false);
	auth_json_str(out, "term", v->term, false);
	buf_add_cstr(out, ",\"path\":[");
	for (size_t i = 0; i < v->path_count; i++) {
		buf_add_cstr(out, i ? "," : "");
		text_add_json(out, v->path[i]);
	}
	buf_add_cstr(out, "],\"weak\":[");
	add_weak(out, v->weak, "\"");
	buf_addf(out, "],\"evidence\":%s,\"lookups\":%u,\"voids\":%u}", v->result == SPF_PASS && !v->weak ? "true" : "false", v->lookups, v->voids);
	if (k->t->o.trace)
		buf_addf(out, ",\"trace\":[%.*s],\"dns\":[%.*s]", SLICE_FMT(buf_slice(&k->steps)), SLICE_FMT(buf_slice(&a->text)));
	buf_add_cstr(out, "}\n");
}

static void spf_words(struct asking *k, const struct spf_verdict *v, const struct auth_answers *a)
{
	struct buf *out = &k->t->out;
	buf_addf(out, "spf: %s%s%s%s\n", spf_result_name(v->result), v->why ? " (" : "", v->why ? v->why : "", v->why ? ")" : "");
	if (v->term.n) {
		buf_add_cstr(out, "  matched ");
		text_add_escaped(out, v->term);
		buf_add_cstr(out, " by the way of");
		for (size_t i = 0; i < v->path_count; i++) {
			buf_add_byte(out, ' ');
			text_add_escaped(out, v->path[i]);
		}
		buf_add_byte(out, '\n');
	}
	if (v->weak) {
		buf_add_cstr(out, "  proves nothing: ");
		add_weak(out, v->weak, "");
		buf_add_byte(out, '\n');
	}
	buf_addf(out, "  %u look-ups, %u void\n", v->lookups, v->voids);
	if (k->t->o.trace) {
		buf_add(out, buf_slice(&k->steps));
		buf_add(out, buf_slice(&a->text));
	}
}

int auth_spf(struct auth_tool *t)
{
	struct auth_options *o = &t->o;
	if (!o->client_given || o->word_count > 1)
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	struct spf_question q = { .client = o->client, .helo = o->helo };
	auth_split_path(o->from, &q.local_part, &q.sender);
	q.domain = o->word_count ? auth_domain(o->words[0]) : q.sender.n ? q.sender : o->helo;
	if (!q.domain.n)
		return ctl_fail(CTL_USAGE, "auth: which domain? DOMAIN, --from or --helo names it");
	struct asking k = { .t = t, .steps = BUF_INIT(16 << 20) };
	struct auth_answers answers;
	struct mail_dns *dns = mail_dns_new(t->loop, t->dns, MAIL_DNS_MAX);
	auth_watch(&answers, t, dns);
	struct spf *s = spf_start(dns, &q, on_spf, &k);
	spf_watch(s, on_step, &k);
	loop_run(t->loop);
	if (t->ctl->json)
		spf_json(&k, spf_verdict(s), &answers);
	else
		spf_words(&k, spf_verdict(s), &answers);
	spf_free(s);
	mail_dns_free(dns);
	buf_free(&k.steps);
	buf_free(&answers.text);
	return 0;
}

static void on_dmarc(void *arg, struct dmarc *d)
{
	struct asking *k = arg;
	(void)d;
	loop_stop(k->t->loop);
}

/* Without identifiers every domain with a policy fails; what is told is the policy. */
static const char *dmarc_word(const struct dmarc_verdict *v)
{
	return v->result == DMARC_FAIL ? "found" : dmarc_result_name(v->result);
}

static void dmarc_json(struct buf *out, const struct dmarc_verdict *v, const struct slice *answers)
{
	buf_addf(out, "{\"dmarc\":{\"result\":\"%s\",\"policy\":\"%s\",\"published\":\"%s\"", dmarc_result_name(v->result), dmarc_policy_name(v->policy),
	         dmarc_policy_name(v->published));
	auth_json_str(out, "reason", v->why ? slice_of(v->why) : SLICE(""), false);
	auth_json_str(out, "from", v->author, false);
	auth_json_str(out, "domain", v->domain, false);
	auth_json_str(out, "organization", v->organisation, false);
	auth_json_str(out, "record", v->text, false);
	buf_addf(out, ",\"testing\":%s,\"exists\":%s,\"rua\":[", v->record.testing ? "true" : "false", v->nonexistent ? "false" : "true");
	for (size_t i = 0; i < v->record.rua_count; i++) {
		buf_add_cstr(out, i ? "," : "");
		text_add_json(out, v->record.rua[i]);
	}
	buf_add_cstr(out, "]}");
	if (answers)
		buf_addf(out, ",\"dns\":[%.*s]", SLICE_FMT(*answers));
	buf_add_cstr(out, "}\n");
}

static void dmarc_words(struct buf *out, const struct dmarc_verdict *v)
{
	buf_addf(out, "dmarc: %s%s%s%s\n", dmarc_word(v), v->why ? " (" : "", v->why ? v->why : "", v->why ? ")" : "");
	if (!v->domain.n)
		return;
	buf_addf(out, "  policy %s%s\n  record of %.*s: ", dmarc_policy_name(v->policy), v->record.testing ? " (t=y)" : "", SLICE_FMT(v->domain));
	text_add_escaped(out, v->text);
	buf_addf(out, "\n  organization %.*s%s\n", SLICE_FMT(v->organisation), v->nonexistent ? ", the domain itself does not exist" : "");
}

int auth_dmarc(struct auth_tool *t)
{
	if (t->o.word_count != 1 || !t->o.words[0].n)
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	struct asking k = { .t = t };
	struct auth_answers answers;
	struct dmarc_identifiers nobody = { .spf = SLICE("") };
	struct mail_dns *dns = mail_dns_new(t->loop, t->dns, MAIL_DNS_MAX);
	auth_watch(&answers, t, dns);
	struct dmarc *d = dmarc_start(dns, auth_domain(t->o.words[0]), t->suffixes);
	dmarc_judge(d, &nobody, on_dmarc, &k);
	loop_run(t->loop);
	struct slice seen = buf_slice(&answers.text);
	if (t->ctl->json)
		dmarc_json(&t->out, dmarc_verdict(d), t->o.trace ? &seen : NULL);
	else
		dmarc_words(&t->out, dmarc_verdict(d));
	if (t->o.trace && !t->ctl->json)
		buf_add(&t->out, buf_slice(&answers.text));
	dmarc_free(d);
	mail_dns_free(dns);
	buf_free(&answers.text);
	return 0;
}
