/* SCRAM's messages. Everything is kept as it came, since the proof is over the very bytes. */
#include "smtpd/auth_scram.h"

#include "base/crypto.h"
#include "base/scan.h"
#include "base/text.h"

enum { PROOF = 32, MAX_BINDING = 1024 };

/* saslname: "=2C" is a comma, "=3D" an equals sign, no other "=" (RFC 5802, 5.1). */
static bool decode_name(struct slice s, struct arena *mem, struct slice *out)
{
	struct buf b = BUF_INIT(1024);
	bool good = text_is_utf8(s) && s.n <= 900;
	for (size_t i = 0; good && i < s.n; i++) {
		if (s.p[i] != '=') {
			buf_add_byte(&b, s.p[i]);
			continue;
		}
		bool comma = slice_starts(slice_skip(s, i), SLICE("=2C"));
		good = comma || slice_starts(slice_skip(s, i), SLICE("=3D"));
		buf_add_byte(&b, comma ? ',' : '=');
		i += 2;
	}
	*out = good ? arena_copy(mem, buf_slice(&b)) : SLICE_NONE;
	buf_free(&b);
	return good && out->p;
}

static bool is_nonce(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
			return false;
	return s.n > 0 && s.n <= SCRAM_MAX_NONCE;
}

static bool read_binding(struct slice flag, enum scram_binding *out)
{
	if (slice_eq(flag, SLICE("n")))
		*out = SCRAM_NO_BINDING;
	else if (slice_eq(flag, SLICE("y")))
		*out = SCRAM_CLIENT_THINKS_NOT;
	else if (slice_eq(flag, SLICE("p=tls-exporter")))
		*out = SCRAM_EXPORTER;
	else if (slice_eq(flag, SLICE("p=tls-server-end-point")))
		*out = SCRAM_END_POINT;
	else
		return false;
	return true;
}

bool scram_read_first(struct scram *s, struct slice message, struct arena *mem)
{
	struct slice whole = arena_copy(mem, message), rest = whole, field;
	*s = (struct scram){ .binding = SCRAM_NO_BINDING };
	if (!whole.p || !read_binding(slice_cut(rest, ',', &rest), &s->binding) || !rest.p)
		return false;
	field = slice_cut(rest, ',', &rest);
	if (!rest.p || (field.n && (!slice_starts(field, SLICE("a=")) || !decode_name(slice_skip(field, 2), mem, &s->authzid))))
		return false;
	s->gs2_header = slice_head(whole, (size_t)(rest.p - whole.p));
	s->first_bare = rest;
	field = slice_cut(rest, ',', &rest);
	if (!slice_starts(field, SLICE("n=")) || !decode_name(slice_skip(field, 2), mem, &s->name) || !s->name.n) /* m= is refused here, as it must be */
		return false;
	field = slice_cut(rest, ',', &rest);
	s->client_nonce = slice_skip(field, 2);
	return slice_starts(field, SLICE("r=")) && is_nonce(s->client_nonce);
}

bool scram_write_first(struct scram *s, struct slice salt, uint32_t rounds, struct arena *mem)
{
	uint8_t random[SCRAM_NONCE];
	struct buf b = BUF_INIT(2048);
	crypto_random(random, sizeof random);
	buf_add_cstr(&b, "r=");
	buf_add(&b, s->client_nonce);
	text_add_base64(&b, slice((const char *)random, sizeof random));
	size_t nonce_end = b.n;
	buf_add_cstr(&b, ",s=");
	text_add_base64(&b, salt);
	buf_addf(&b, ",i=%u", rounds);
	s->server_first = buf_full(&b) ? SLICE_NONE : arena_copy(mem, buf_slice(&b));
	s->nonce = slice_skip(slice_head(s->server_first, nonce_end), 2);
	buf_free(&b);
	return s->server_first.p != NULL;
}

static bool binding_is(const struct scram *s, struct slice base64, struct slice binding_data)
{
	struct buf said = BUF_INIT(MAX_BINDING), meant = BUF_INIT(MAX_BINDING);
	buf_add(&meant, s->gs2_header);
	buf_add(&meant, binding_data);
	bool good = text_base64_decode(base64, &said) && !buf_full(&meant) && slice_eq(buf_slice(&said), buf_slice(&meant));
	buf_free(&said);
	buf_free(&meant);
	return good;
}

static bool read_proof(struct slice base64, struct arena *mem, struct slice *out)
{
	struct buf b = BUF_INIT(PROOF);
	*out = text_base64_decode(base64, &b) && b.n == PROOF ? arena_copy(mem, buf_slice(&b)) : SLICE_NONE;
	buf_free(&b);
	return out->p != NULL;
}

bool scram_read_final(struct scram *s, struct slice message, struct slice binding_data, struct arena *mem)
{
	struct slice rest = message, field = slice_cut(rest, ',', &rest);
	if (!slice_starts(field, SLICE("c=")) || !binding_is(s, slice_skip(field, 2), binding_data))
		return false;
	field = slice_cut(rest, ',', &rest);
	if (!slice_starts(field, SLICE("r=")) || !slice_eq_secret(slice_skip(field, 2), s->nonce))
		return false;
	size_t proof_at = slice_rfind(message, ',');
	struct slice proof = slice_skip(message, proof_at + 1);
	if (proof_at == message.n || !slice_starts(proof, SLICE("p=")) || !read_proof(slice_skip(proof, 2), mem, &s->proof))
		return false;
	struct buf b = BUF_INIT(8192);
	buf_add(&b, s->first_bare);
	buf_add_byte(&b, ',');
	buf_add(&b, s->server_first);
	buf_add_byte(&b, ',');
	buf_add(&b, slice_head(message, proof_at));
	s->auth_message = buf_full(&b) ? SLICE_NONE : arena_copy(mem, buf_slice(&b));
	buf_free(&b);
	return s->auth_message.p != NULL;
}
