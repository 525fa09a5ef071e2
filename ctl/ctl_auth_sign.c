/* `porterctl auth sign` and `seal`: the signature fields on top of a message, with keys from files. */
#include "ctl/ctl_auth.h"

#include "base/mail_arc.h"
#include "base/mail_authres.h"
#include "base/mail_sign.h"
#include "base/text.h"

static const struct slice default_forms = SLICE_INIT("relaxed/relaxed");

struct signer {
	struct crypto_key *key;
	enum mail_algorithm algorithm;
};

static int open_key(struct auth_tool *t, struct slice file, struct signer *out)
{
	struct slice pem;
	if (auth_read_file(t, file, &pem))
		return CTL_NO_INPUT;
	out->key = crypto_key_private_pem(pem);
	if (!out->key || crypto_key_kind(out->key) == CRYPTO_EC) {
		crypto_key_free(out->key);
		return ctl_fail(CTL_DATA, "auth: %.*s: no RSA or Ed25519 key in PEM", SLICE_FMT(file));
	}
	out->algorithm = crypto_key_kind(out->key) == CRYPTO_ED25519 ? ALGORITHM_ED25519_SHA256 : ALGORITHM_RSA_SHA256;
	return 0;
}

static bool read_form(struct slice word, enum mail_canon *out)
{
	*out = slice_eq(word, SLICE("relaxed")) ? CANON_RELAXED : CANON_SIMPLE;
	return *out == CANON_RELAXED || slice_eq(word, SLICE("simple"));
}

static bool read_forms(struct slice forms, struct mail_sign *p)
{
	struct slice body, header = slice_cut(forms.n ? forms : default_forms, '/', &body);
	return read_form(header, &p->header_form) && read_form(body, &p->body_form);
}

static void body_digest(struct slice body, enum mail_canon form, struct mail_digest *out)
{
	struct mail_body *b = mail_body_new();
	int number = mail_body_want(b, form, false, MAIL_BODY_WHOLE);
	mail_body_add(b, body);
	mail_body_end(b);
	mail_body_digest(b, number, out);
	mail_body_free(b);
}

static int put_signature(enum mail_signature_kind kind, const struct signer *s, const struct mail_digest *digest, struct buf *field, size_t at)
{
	struct buf signature = BUF_INIT(CRYPTO_MAX_SIGNATURE);
	int failed = crypto_sign_digest(s->key, slice((const char *)digest->bytes, digest->n), &signature);
	if (!failed)
		failed = mail_sign_end(kind, field, at, buf_slice(&signature));
	buf_free(&signature);
	return failed ? ctl_fail(CTL_DATA, "auth: the key can't sign") : 0;
}

/* The fields and the message under them; as JSON the fields alone, since a message may hold bytes that JSON has no way for. */
static void print_signed(struct auth_tool *t, struct slice fields, struct slice message)
{
	struct mail_field f;
	if (!t->ctl->json) {
		buf_add(&t->out, fields);
		buf_add(&t->out, message);
		return;
	}
	buf_add_cstr(&t->out, "\"fields\":[");
	for (bool first = true; mail_field_next(&fields, &f) == MAIL_FIELD; first = false) {
		buf_add_cstr(&t->out, first ? "" : ",");
		text_add_json(&t->out, f.raw);
	}
	buf_add_cstr(&t->out, "]}\n");
}

static int sign_once(const struct mail_header *h, const struct mail_sign *p, const struct signer *s, const struct mail_digest *body, struct buf *fields)
{
	struct buf field = BUF_INIT(64 << 10);
	struct mail_digest digest;
	size_t at;
	int code = mail_sign_message(p, h, body, &field, &at, &digest) ? ctl_fail(CTL_DATA, "auth: the field would be too long") : put_signature(p->kind, s, &digest, &field, at);
	if (!code)
		buf_add(fields, buf_slice(&field));
	buf_free(&field);
	return code;
}

static bool has_keys(const struct auth_options *o)
{
	return o->word_count == 1 && o->domain.n && o->key_count && o->selector_count == o->key_count;
}

int auth_sign(struct auth_tool *t)
{
	struct auth_options *o = &t->o;
	struct slice message;
	struct mail_header h;
	struct mail_digest body;
	struct mail_sign p = { .kind = SIGNATURE_DKIM, .domain = o->domain, .identity = o->identity, .made_s = o->now_s };
	p.expires_s = o->expires_s ? o->now_s + (int64_t)o->expires_s : 0;
	if (!has_keys(o) || !read_forms(o->forms, &p))
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	int code = auth_read_message(t, o->words[0], &message, &h);
	if (code)
		return code;
	struct buf names = BUF_INIT(16 << 10), fields = BUF_INIT(AUTH_MAX_KEYS * (64 << 10));
	mail_sign_names(&h, false, &names);
	p.names = o->headers.n ? o->headers : buf_slice(&names);
	body_digest(h.body, p.body_form, &body);
	for (size_t i = 0; i < o->key_count && !code; i++) {
		struct signer s = { 0 };
		code = open_key(t, o->keys[i], &s);
		p.selector = o->selectors[i];
		p.algorithm = s.algorithm;
		if (!code)
			code = sign_once(&h, &p, &s, &body, &fields);
		crypto_key_free(s.key);
	}
	buf_add_cstr(&t->out, t->ctl->json ? "{" : "");
	print_signed(t, buf_slice(&fields), message);
	buf_free(&names);
	buf_free(&fields);
	return code;
}

/* -- sealing -------------------------------------------------------------------------------------------------------------- */

static void on_arc(void *arg, struct arc *a)
{
	struct auth_tool *t = arg;
	(void)a;
	loop_stop(t->loop);
}

/* What the chain below is worth: the new seal's cv=. A chain that can't be judged now isn't sealed as failed, which would end it for ever. */
static int validate(struct auth_tool *t, const struct mail_header *h, enum arc_cv *cv)
{
	struct mail_dns *dns = mail_dns_new(t->loop, t->dns, MAIL_DNS_MAX);
	struct mail_body *body = mail_body_new();
	struct arc *a = arc_start(dns, h, body, t->o.lax);
	mail_body_add(body, h->body);
	mail_body_end(body);
	arc_judge(a, on_arc, t);
	loop_run(t->loop);
	const struct arc_verdict *v = arc_verdict(a);
	bool closed = v->sealed_fail || v->instance == ARC_MAX_INSTANCE;
	int code = closed ? ctl_fail(CTL_DATA, "auth: the chain is closed: failed before, or full") :
	           v->result == ARC_TEMPERROR ? ctl_fail(CTL_TEMPFAIL, "auth: the chain can't be validated now: %s", v->why) : 0;
	*cv = v->result == ARC_NONE ? ARC_CV_NONE : v->result == ARC_PASS ? ARC_CV_PASS : ARC_CV_FAIL;
	if (t->ctl->json)
		buf_addf(&t->out, "{\"arc\":{\"result\":\"%s\",\"instance\":%u},", arc_result_name(v->result), v->instance);
	arc_free(a);
	mail_body_free(body);
	mail_dns_free(dns);
	return code;
}

/* ARC-Authentication-Results: what stands in our own Authentication-Results, one after another. */
static void write_results(struct auth_tool *t, const struct mail_header *h, unsigned instance, struct buf *out)
{
	bool any = false;
	buf_addf(out, "ARC-Authentication-Results: i=%u; %.*s;", instance, SLICE_FMT(t->o.id));
	for (size_t i = 0; i < h->count; i++) {
		struct slice value = h->fields[i].value, id;
		if (!slice_eq_nocase(h->fields[i].name, SLICE("Authentication-Results")) || !authres_id(value, &id) || !slice_eq_nocase(id, t->o.id) ||
		    !authres_skip_id(&value))
			continue;
		if (any)
			buf_add_byte(out, ';');
		struct slice rest = slice_trim(value);
		if (rest.n && rest.p[rest.n - 1] == ';')
			rest.n--;
		buf_add_byte(out, ' ');
		buf_add(out, rest);
		any = true;
	}
	buf_add_cstr(out, any ? "\r\n" : " none\r\n");
}

static int seal(struct auth_tool *t, const struct mail_header *h, struct mail_sign *p, const struct signer *s, enum arc_cv cv, struct buf *fields)
{
	struct arc_chain chain;
	struct mail_digest body, digest;
	struct buf results = BUF_INIT(256 << 10), message = BUF_INIT(64 << 10), own = BUF_INIT(64 << 10);
	size_t at = 0;
	arc_collect(h, &t->mem, &chain);
	p->instance = (unsigned)chain.count + 1;
	p->cv = cv;
	write_results(t, h, p->instance, &results);
	body_digest(h->body, p->body_form, &body);
	p->kind = SIGNATURE_ARC_MESSAGE;
	int code = mail_sign_message(p, h, &body, &message, &at, &digest) ? ctl_fail(CTL_DATA, "auth: the field would be too long") : put_signature(p->kind, s, &digest, &message, at);
	if (!code) {
		struct mail_field r = mail_sign_field(buf_slice(&results)), m = mail_sign_field(buf_slice(&message));
		p->kind = SIGNATURE_ARC_SEAL;
		code = mail_sign_seal(p, &chain, &r, &m, &own, &at, &digest) ? ctl_fail(CTL_DATA, "auth: the chain can't be sealed") : put_signature(p->kind, s, &digest, &own, at);
	}
	buf_add(fields, buf_slice(&own));
	buf_add(fields, buf_slice(&message));
	buf_add(fields, buf_slice(&results));
	buf_free(&results);
	buf_free(&message);
	buf_free(&own);
	return code;
}

int auth_seal(struct auth_tool *t)
{
	struct auth_options *o = &t->o;
	struct slice message;
	struct mail_header h;
	struct signer s = { 0 };
	enum arc_cv cv;
	struct mail_sign p = { .domain = o->domain, .selector = o->selectors[0], .made_s = o->now_s };
	if (!has_keys(o) || o->key_count != 1 || !o->id.n || !read_forms(o->forms, &p))
		return ctl_fail(CTL_USAGE, "auth: a word is missing or too many; --help tells");
	int code = auth_read_message(t, o->words[0], &message, &h);
	code = code ? code : open_key(t, o->keys[0], &s);
	if (code)
		return code;
	p.algorithm = s.algorithm;
	code = validate(t, &h, &cv);
	struct buf names = BUF_INIT(16 << 10), fields = BUF_INIT(512 << 10);
	mail_sign_names(&h, true, &names);
	p.names = o->headers.n ? o->headers : buf_slice(&names);
	if (!code)
		code = seal(t, &h, &p, &s, cv, &fields);
	print_signed(t, buf_slice(&fields), message);
	buf_free(&names);
	buf_free(&fields);
	crypto_key_free(s.key);
	return code;
}
