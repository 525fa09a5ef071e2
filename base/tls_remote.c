/* Private keys that are elsewhere, for OpenSSL: a provider whose keys are public keys with a keeper, and whose only operation is to sign what a
 * handshake signs. It stands in a library context of its own beside OpenSSL's provider, so that nothing else in the process ever meets it. */
#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "base/crypto.h"
#include "base/mem.h"
#include "base/tls_inside.h"

#define PARAM_LINK "porter-link"

_Thread_local struct tls_wait *tls_waiting;

struct remote {
	EVP_PKEY *public;
	struct keeper *keeper;
	uint8_t id[32];
};

/* -- keys ----------------------------------------------------------------------------------------------------------------------------- */

static void *key_new(void *provider)
{
	(void)provider;
	return MEM_NEW(struct remote);
}

static void key_free(void *data)
{
	struct remote *k = data;
	EVP_PKEY_free(k->public);
	mem_free(k);
}

static int key_has(const void *data, int what)
{
	(void)data, (void)what;
	return 1;
}

/* Only tls_remote_key makes keys here: the one parameter is the address of its struct remote. */
static int key_import(void *data, int what, const OSSL_PARAM params[])
{
	(void)what;
	struct remote *k = data;
	const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, PARAM_LINK);
	const struct remote *from;
	if (!p || p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size != sizeof from)
		return 0;
	memcpy(&from, p->data, sizeof from);
	*k = *from;
	return EVP_PKEY_up_ref(k->public);
}

static int key_export(void *data, int what, OSSL_CALLBACK *take, void *arg)
{
	struct remote *k = data;
	return what & OSSL_KEYMGMT_SELECT_PRIVATE_KEY ? 0 : EVP_PKEY_export(k->public, EVP_PKEY_PUBLIC_KEY, take, arg);
}

static const OSSL_PARAM *key_types(int what)
{
	static const OSSL_PARAM none[] = { OSSL_PARAM_octet_string(PARAM_LINK, NULL, 0), OSSL_PARAM_END };
	(void)what;
	return none;
}

static int key_get(void *data, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((struct remote *)data)->public, params);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
	static const OSSL_PARAM list[] = { OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL), OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_END };
	(void)provider;
	return list;
}

/* Names that OpenSSL's own provider doesn't have, so that it is never tried first. */
static const char *rsa_operation(int id)
{
	(void)id;
	return "PORTER-RSA";
}

static const char *ec_operation(int id)
{
	(void)id;
	return "PORTER-EC";
}

static const char *ed_operation(int id)
{
	(void)id;
	return "PORTER-ED";
}

#define FUNCTION(id, f) { id, (void (*)(void))(f) }
#define KEY_FUNCTIONS(operation) { FUNCTION(OSSL_FUNC_KEYMGMT_NEW, key_new), FUNCTION(OSSL_FUNC_KEYMGMT_FREE, key_free), \
	FUNCTION(OSSL_FUNC_KEYMGMT_HAS, key_has), FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, key_import), \
	FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, key_types), FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT, key_export), \
	FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, key_types), FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get), \
	FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable), FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, operation), { 0, NULL } }

static const OSSL_DISPATCH rsa_keys[] = KEY_FUNCTIONS(rsa_operation), ec_keys[] = KEY_FUNCTIONS(ec_operation), ed_keys[] = KEY_FUNCTIONS(ed_operation);

/* -- signing --------------------------------------------------------------------------------------------------------------------------- */

struct sign {
	struct remote *key;
	bool pss;
	unsigned hash; /* 256, 384, 512; 0: the key's own */
};

static void *sign_new(void *provider, const char *properties)
{
	(void)provider, (void)properties;
	return MEM_NEW(struct sign);
}

static void sign_free(void *ctx)
{
	mem_free(ctx);
}

static int sign_set(void *ctx, const OSSL_PARAM params[])
{
	struct sign *s = ctx;
	const OSSL_PARAM *p = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
	int mode = 0;
	if (!p)
		return 1;
	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		s->pss = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0;
	else if (OSSL_PARAM_get_int(p, &mode))
		s->pss = mode == RSA_PKCS1_PSS_PADDING;
	return 1;
}

static const OSSL_PARAM *sign_settable(void *ctx, void *provider)
{
	static const OSSL_PARAM list[] = { OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0), OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
		OSSL_PARAM_END };
	(void)ctx, (void)provider;
	return list;
}

static int sign_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct sign *s = ctx;
	struct slice name = slice_of(digest ? digest : "");
	s->key = key;
	s->hash = slice_ends(name, SLICE("256")) ? 256 : slice_ends(name, SLICE("384")) ? 384 : slice_ends(name, SLICE("512")) ? 512 : 0;
	return sign_set(ctx, params);
}

/* The SignatureScheme of RFC 8446, 4.2.3; 0 for what no server of ours signs with. */
static unsigned scheme_of(const struct sign *s)
{
	unsigned step = s->hash == 256 ? 0 : s->hash == 384 ? 1 : 2;
	int kind = EVP_PKEY_get_base_id(s->key->public);
	if (kind == EVP_PKEY_ED25519)
		return 0x0807;
	if (!s->hash)
		return 0;
	return kind == EVP_PKEY_EC ? 0x0403 + step * 0x100 : s->pss ? 0x0804 + step : 0x0401 + step * 0x100;
}

/* Runs in the handshake's job. The loop's side asks the keeper and comes back when state has changed. */
static int sign_digest(void *ctx, unsigned char *out, size_t *n, size_t size, const unsigned char *data, size_t data_n)
{
	struct sign *s = ctx;
	struct tls_wait *w = tls_waiting;
	if (!out) {
		*n = (size_t)EVP_PKEY_get_size(s->key->public);
		return 1;
	}
	if (!w || !s->key->keeper || !ASYNC_get_current_job() || !scheme_of(s))
		return 0;
	w->state = TLS_WAIT_ASKED;
	w->keeper = s->key->keeper;
	memcpy(w->key, s->key->id, sizeof w->key);
	w->scheme = scheme_of(s);
	w->data = slice((const char *)data, data_n);
	while (w->state == TLS_WAIT_ASKED)
		ASYNC_pause_job();
	if (w->state != TLS_WAIT_GOOD || w->signature.n > size)
		return 0;
	memcpy(out, w->signature.p, w->signature.n);
	*n = w->signature.n;
	return 1;
}

static const OSSL_DISPATCH signing[] = { FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, sign_new), FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, sign_free),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, sign_init), FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, sign_digest),
	FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, sign_set), FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, sign_settable), { 0, NULL } };

/* -- the provider ------------------------------------------------------------------------------------------------------------------------- */

#define OURS "provider=porter"
static const OSSL_ALGORITHM key_algorithms[] = { { "RSA:rsaEncryption:1.2.840.113549.1.1.1", OURS, rsa_keys, "" },
	{ "EC:id-ecPublicKey:1.2.840.10045.2.1", OURS, ec_keys, "" }, { "ED25519:1.3.101.112", OURS, ed_keys, "" }, { NULL, NULL, NULL, NULL } };
static const OSSL_ALGORITHM sign_algorithms[] = { { "PORTER-RSA", OURS, signing, "" }, { "PORTER-EC", OURS, signing, "" },
	{ "PORTER-ED", OURS, signing, "" }, { NULL, NULL, NULL, NULL } };

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_store)
{
	(void)provider;
	*no_store = 0;
	return operation == OSSL_OP_KEYMGMT ? key_algorithms : operation == OSSL_OP_SIGNATURE ? sign_algorithms : NULL;
}

static int provider_start(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH ours[] = { FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), { 0, NULL } };
	static int something;
	(void)handle, (void)in;
	*out = ours;
	*context = &something;
	return 1;
}

OSSL_LIB_CTX *tls_library(void)
{
	static OSSL_LIB_CTX *library;
	if (library)
		return library;
	library = OSSL_LIB_CTX_new();
	if (!library || !OSSL_PROVIDER_add_builtin(library, "porter", provider_start) || !OSSL_PROVIDER_load(library, "default") ||
	    !OSSL_PROVIDER_load(library, "porter"))
		abort(); /* no memory, or no OpenSSL */
	return library;
}

static void add_number(struct crypto_hash *h, EVP_PKEY *key, const char *name)
{
	unsigned char bytes[2049]; /* 16,384 bits */
	BIGNUM *number = NULL;
	size_t n = 0;
	if (EVP_PKEY_get_bn_param(key, name, &number) == 1 && BN_num_bytes(number) < (int)sizeof bytes)
		n = (size_t)BN_bn2bin(number, bytes);
	BN_free(number);
	crypto_hash_add(h, slice((const char *)bytes, n));
	crypto_hash_add(h, SLICE("/"));
}

/* Over the key's numbers: its DER would be the same in both processes, too, but OpenSSL sets up a hundred encoders for the first, and keeps them. */
void tls_key_id(EVP_PKEY *public, uint8_t out[32])
{
	static const char *const rsa[] = { "n", "e", NULL }, *const ec[] = { "qx", "qy", NULL }, *const none[] = { NULL };
	int kind = EVP_PKEY_get_base_id(public);
	struct crypto_hash *h = crypto_sha256_new();
	unsigned char raw[32];
	size_t n = sizeof raw;
	if (kind == EVP_PKEY_ED25519 && EVP_PKEY_get_raw_public_key(public, raw, &n) == 1)
		crypto_hash_add(h, slice((const char *)raw, n));
	for (const char *const *name = kind == EVP_PKEY_RSA ? rsa : kind == EVP_PKEY_EC ? ec : none; *name; name++)
		add_number(h, public, *name);
	crypto_hash_end(h, out);
}

EVP_PKEY *tls_remote_key(EVP_PKEY *public, struct keeper *keeper)
{
	int kind = EVP_PKEY_get_base_id(public);
	const char *name = kind == EVP_PKEY_RSA ? "RSA" : kind == EVP_PKEY_EC ? "EC" : kind == EVP_PKEY_ED25519 ? "ED25519" : NULL;
	if (!name)
		return NULL;
	struct remote key = { public, keeper, { 0 } }, *link = &key;
	tls_key_id(public, key.id);
	OSSL_PARAM params[] = { OSSL_PARAM_octet_string(PARAM_LINK, &link, sizeof link), OSSL_PARAM_END };
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(tls_library(), name, OURS);
	EVP_PKEY *made = NULL;
	if (c && EVP_PKEY_fromdata_init(c) == 1)
		EVP_PKEY_fromdata(c, &made, EVP_PKEY_KEYPAIR, params);
	EVP_PKEY_CTX_free(c);
	return made;
}
