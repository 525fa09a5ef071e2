/* A self-signed certificate, for first starts and tests: ECDSA P-256, which every client of TLS 1.2 knows. */
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/crypto.h"
#include "base/tls_inside.h"

enum { MAX_HOST_NAME = 253, DAY_S = 86400 };

static bool add_extension(X509 *x, int kind, const char *value)
{
	X509V3_CTX c;
	X509V3_set_ctx_nodb(&c);
	X509V3_set_ctx(&c, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, kind, value);
	bool good = e && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return good;
}

static bool fill(X509 *x, EVP_PKEY *key, const char *host, unsigned days)
{
	char alt[MAX_HOST_NAME + 8];
	uint64_t serial;
	crypto_random(&serial, sizeof serial);
	snprintf(alt, sizeof alt, "DNS:%s", host);
	X509_NAME *name = X509_get_subject_name(x);
	return X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -3600) && X509_gmtime_adj(X509_getm_notAfter(x), (long)days * DAY_S) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)host, strlen(host) > 64 ? 64 : -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, name) == 1 && X509_set_pubkey(x, key) == 1 && add_extension(x, NID_subject_alt_name, alt) &&
	       add_extension(x, NID_basic_constraints, "critical,CA:FALSE") && add_extension(x, NID_ext_key_usage, "serverAuth,clientAuth") &&
	       X509_sign(x, key, EVP_sha256()) > 0;
}

static int add_pem(BIO *from, struct buf *to)
{
	char *text;
	long n = BIO_get_mem_data(from, &text);
	return buf_add(to, slice(text, n > 0 ? (size_t)n : 0));
}

int tls_make_self_signed(struct slice host, unsigned days, struct buf *cert, struct buf *key)
{
	char name[MAX_HOST_NAME + 1];
	if (!host.n || host.n > MAX_HOST_NAME || slice_find(host, ',') < host.n || slice_find(host, '\0') < host.n)
		return -EINVAL; /* a comma would begin another name */
	memcpy(name, host.p, host.n);
	name[host.n] = '\0';
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
	int error = -EINVAL;
	if (pair && x && cert_pem && key_pem && fill(x, pair, name, days) && PEM_write_bio_X509(cert_pem, x) == 1 &&
	    PEM_write_bio_PrivateKey(key_pem, pair, NULL, NULL, 0, NULL, NULL) == 1) {
		error = add_pem(cert_pem, cert);
		error = error ? error : add_pem(key_pem, key);
	}
	BIO_free(cert_pem);
	BIO_free(key_pem);
	X509_free(x);
	EVP_PKEY_free(pair);
	return error;
}
