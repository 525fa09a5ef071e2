/* `porterctl auth check`, `dkim` and `arc`: one message through base/mail_check, its verdicts in words or JSON. */
#include "ctl/ctl_auth.h"

#include "base/mail_check.h"
#include "base/text.h"

struct checking {
	struct auth_tool *t;
	struct mail_check *check;
	struct auth_answers answers;
	struct mail_check_results r;
};

static void on_end(void *arg)
{
	struct checking *k = arg;
	loop_stop(k->t->loop);
}

/* Runs the checks; exit code. The caller ends with stop(). */
static int start(struct checking *k, struct auth_tool *t)
{
	struct slice message;
	struct mail_header header;
	if (t->o.word_count != 1)
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	int code = auth_read_message(t, t->o.words[0], &message, &header);
	if (code)
		return code;
	struct mail_check_options o = { .suffixes = t->suffixes, .helo_too = t->o.helo_given, .dkim = { .lax = t->o.lax, .now_s = t->o.now_s } };
	k->t = t;
	k->check = mail_check_new(t->loop, t->dns, &o);
	auth_watch(&k->answers, t, mail_check_dns(k->check));
	if (t->o.client_given && (t->o.from_given || t->o.helo_given)) {
		struct mail_check_envelope e = { .client = t->o.client, .helo = t->o.helo };
		auth_split_path(t->o.from, &e.local_part, &e.domain);
		mail_check_envelope(k->check, &e);
	}
	mail_check_header(k->check, &header);
	mail_check_body(k->check, header.body);
	mail_check_end(k->check, on_end, k);
	loop_run(t->loop);
	mail_check_results(k->check, &k->r);
	return 0;
}

static void stop(struct checking *k)
{
	mail_check_free(k->check);
	buf_free(&k->answers.text);
}

static struct slice phrase(const char *why)
{
	return why ? slice_of(why) : SLICE("");
}

static void add_hash(struct buf *out, const char *key, const struct mail_digest *d)
{
	if (!d->n)
		return;
	buf_addf(out, ",\"%s\":\"", key);
	text_add_base64(out, slice((const char *)d->bytes, d->n));
	buf_add_byte(out, '"');
}

/* -- JSON ----------------------------------------------------------------------------------------------------------------- */

static void json_spf_one(struct buf *out, const struct spf_verdict *v, const char *absent)
{
	buf_addf(out, "{\"result\":\"%s\"", v ? spf_result_name(v->result) : "none");
	auth_json_str(out, "reason", v ? phrase(v->why) : slice_of(absent), false);
	if (v)
		auth_json_str(out, "term", v->term, false);
	buf_add_byte(out, '}');
}

static void json_dkim(struct buf *out, const struct mail_check_results *r)
{
	buf_add_cstr(out, "\"dkim\":[");
	for (size_t i = 0; i < r->dkim_count; i++) {
		const struct dkim_verdict *v = &r->dkim[i];
		buf_addf(out, "%s{\"result\":\"%s\"", i ? "," : "", dkim_result_name(v->result));
		auth_json_str(out, "domain", v->domain, false);
		auth_json_str(out, "selector", v->selector, false);
		auth_json_str(out, "identity", v->identity, false);
		auth_json_str(out, "algorithm", v->domain.n ? slice_of(mail_algorithm_name(v->algorithm)) : SLICE(""), false);
		auth_json_str(out, "reason", phrase(v->why), false);
		buf_addf(out, ",\"bits\":%u,\"testing\":%s", v->key_bits, v->testing ? "true" : "false");
		add_hash(out, "header_hash", &v->header_hash);
		add_hash(out, "body_hash", &v->body_hash);
		buf_add_byte(out, '}');
	}
	buf_add_byte(out, ']');
}

static void json_dmarc(struct buf *out, const struct mail_check_results *r)
{
	const struct dmarc_verdict *v = r->dmarc;
	buf_addf(out, "\"dmarc\":{\"result\":\"%s\",\"policy\":\"%s\"", v ? dmarc_result_name(v->result) : "permerror",
	         dmarc_policy_name(v ? v->policy : DMARC_POLICY_NONE));
	auth_json_str(out, "reason", phrase(v ? v->why : r->from_wrong), false);
	if (v) {
		auth_json_str(out, "from", v->author, false);
		auth_json_str(out, "domain", v->domain, false);
		auth_json_str(out, "organization", v->organisation, false);
		buf_addf(out, ",\"spf_aligned\":%s,\"dkim_aligned\":%s", v->spf_aligned ? "true" : "false", v->dkim_aligned ? "true" : "false");
		auth_json_str(out, "record", v->text, false);
	}
	buf_add_byte(out, '}');
}

static void json_arc(struct buf *out, const struct arc_verdict *v)
{
	buf_addf(out, "\"arc\":{\"result\":\"%s\",\"instance\":%u", arc_result_name(v->result), v->instance);
	auth_json_str(out, "reason", phrase(v->why), false);
	if (v->result == ARC_PASS)
		auth_json_str(out, "sealer", v->sealer[v->instance - 1], false);
	add_hash(out, "header_hash", &v->header_hash);
	add_hash(out, "body_hash", &v->body_hash);
	buf_add_byte(out, '}');
}

/* -- words ---------------------------------------------------------------------------------------------------------------- */

static void word_line(struct buf *out, const char *method, const char *result, const char *why)
{
	buf_addf(out, "%s: %s%s%s%s\n", method, result, why ? " (" : "", why ? why : "", why ? ")" : "");
}

static void word_hash(struct buf *out, const char *name, const struct mail_digest *d)
{
	if (!d->n)
		return;
	buf_addf(out, "  %s ", name);
	text_add_base64(out, slice((const char *)d->bytes, d->n));
	buf_add_byte(out, '\n');
}

static void word_dkim(struct buf *out, const struct mail_check_results *r)
{
	if (!r->dkim_count)
		word_line(out, "dkim", "none", "no signature");
	for (size_t i = 0; i < r->dkim_count; i++) {
		const struct dkim_verdict *v = &r->dkim[i];
		word_line(out, "dkim", dkim_result_name(v->result), v->why);
		if (v->domain.n)
			buf_addf(out, "  d=%.*s s=%.*s a=%s %u bits\n", SLICE_FMT(v->domain), SLICE_FMT(v->selector), mail_algorithm_name(v->algorithm), v->key_bits);
		word_hash(out, "header", &v->header_hash);
		word_hash(out, "body  ", &v->body_hash);
	}
}

static void word_arc(struct buf *out, const struct arc_verdict *v)
{
	word_line(out, "arc", arc_result_name(v->result), v->why);
	for (unsigned i = 0; v->result == ARC_PASS && i < v->instance; i++)
		buf_addf(out, "  i=%u d=%.*s\n", i + 1, SLICE_FMT(v->sealer[i]));
	word_hash(out, "header", &v->header_hash);
	word_hash(out, "body  ", &v->body_hash);
}

static void word_spf(struct buf *out, const char *name, const struct spf_verdict *v)
{
	word_line(out, name, spf_result_name(v->result), v->why);
	if (v->term.n)
		buf_addf(out, "  matched %.*s\n", SLICE_FMT(v->term));
}

static void word_dmarc(struct buf *out, const struct mail_check_results *r)
{
	const struct dmarc_verdict *v = r->dmarc;
	word_line(out, "dmarc", v ? dmarc_result_name(v->result) : "permerror", v ? v->why : r->from_wrong);
	if (v && v->domain.n)
		buf_addf(out, "  policy %s, of %.*s, organization %.*s\n", dmarc_policy_name(v->policy), SLICE_FMT(v->domain), SLICE_FMT(v->organisation));
}

/* -- commands ------------------------------------------------------------------------------------------------------------- */

static void check_json(struct checking *k, struct buf *out)
{
	buf_add_cstr(out, "{\"spf\":");
	json_spf_one(out, k->r.spf, "no client or no envelope given");
	if (k->r.helo) {
		buf_add_cstr(out, ",\"helo\":");
		json_spf_one(out, k->r.helo, "");
	}
	buf_add_byte(out, ',');
	json_dkim(out, &k->r);
	buf_add_byte(out, ',');
	json_dmarc(out, &k->r);
	buf_add_byte(out, ',');
	json_arc(out, k->r.arc);
	struct buf text = BUF_INIT(64 << 10);
	mail_check_authres(k->check, k->t->o.id.n ? k->t->o.id : SLICE("localhost"), NULL, NULL, &text);
	auth_json_str(out, "authentication_results", buf_slice(&text), false);
	buf_free(&text);
	buf_addf(out, ",\"questions\":%u,\"dns\":[%.*s]}\n", k->r.questions, SLICE_FMT(buf_slice(&k->answers.text)));
}

int auth_check(struct auth_tool *t)
{
	struct checking k = { 0 };
	struct buf *out = &t->out;
	int code = start(&k, t);
	if (code)
		return code;
	if (t->ctl->json) {
		check_json(&k, out);
	} else {
		if (k.r.spf)
			word_spf(out, k.r.spf_is_helo ? "spf (helo)" : "spf", k.r.spf);
		if (k.r.helo)
			word_spf(out, "spf (helo)", k.r.helo);
		word_dkim(out, &k.r);
		word_dmarc(out, &k.r);
		word_arc(out, k.r.arc);
		buf_addf(out, "%u questions\n", k.r.questions);
		buf_add(out, buf_slice(&k.answers.text));
	}
	stop(&k);
	return 0;
}

int auth_dkim(struct auth_tool *t)
{
	struct checking k = { 0 };
	int code = start(&k, t);
	if (code)
		return code;
	if (t->ctl->json) {
		buf_add_byte(&t->out, '{');
		json_dkim(&t->out, &k.r);
		buf_add_cstr(&t->out, "}\n");
	} else {
		word_dkim(&t->out, &k.r);
	}
	stop(&k);
	return 0;
}

int auth_arc(struct auth_tool *t)
{
	struct checking k = { 0 };
	int code = start(&k, t);
	if (code)
		return code;
	if (t->ctl->json) {
		buf_add_byte(&t->out, '{');
		json_arc(&t->out, k.r.arc);
		buf_add_cstr(&t->out, "}\n");
	} else {
		word_arc(&t->out, k.r.arc);
	}
	stop(&k);
	return 0;
}
