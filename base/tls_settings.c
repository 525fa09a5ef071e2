/* The settings of TLS that more than one process reads. */
#include <errno.h>
#include <stddef.h>

#include "base/tls.h"

struct tls_settings tls_settings;

static const char *check_pairs(struct slice value)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct tls_pair pairs[TLS_MAX_CERTIFICATES];
	size_t count;
	int error = tls_pairs(value, SLICE("/"), &mem, pairs, &count);
	arena_free(&mem);
	return error ? "not a list of CERT,KEY" : NULL;
}

static const struct setting rows[] = {
	{ "tls-certificates", SETTING_LIST, offsetof(struct tls_settings, certificates), "tls/cert.pem,tls/key.pem", 0, 0, NULL, check_pairs,
	  "Pairs CERT,KEY of PEM files; a client that names no host of theirs gets the first." },
	{ "tls-ask-certificate", SETTING_BOOL, offsetof(struct tls_settings, ask_certificate), "yes", 0, 0, NULL, NULL,
	  "Ask clients for a certificate, for the map clients and SASL EXTERNAL; few clients mind." },
	{ "tls-look", SETTING_SPAN, offsetof(struct tls_settings, look_s), "1m", 1, 86400, NULL, NULL,
	  "How often files of certificates and keys are looked at; those that changed are used without a reload." },
	{ "keys-directory", SETTING_PATH, offsetof(struct tls_settings, keys_directory), "keys", 0, 0, NULL, NULL,
	  "The folder of other private keys, for root alone: mac-keys, login-salt, and DKIM keys as SELECTOR._domainkey.DOMAIN.pem." },
	{ "tls-roots", SETTING_TEXT, offsetof(struct tls_settings, roots), "", 0, 0, NULL, NULL,
	  "A PEM file of the root certificates for next hops; empty: the system's." },
};

struct setting_table tls_setting_table = { "tls", rows, sizeof rows / sizeof rows[0], &tls_settings };

static struct slice absolute(struct slice name, struct slice directory, struct arena *mem)
{
	char *whole = name.p[0] == '/' ? NULL : arena_new(mem, directory.n + 1 + name.n);
	if (!whole)
		return arena_copy(mem, name);
	memcpy(whole, directory.p, directory.n);
	whole[directory.n] = '/';
	memcpy(whole + directory.n + 1, name.p, name.n);
	return slice(whole, directory.n + 1 + name.n);
}

int tls_pairs(struct slice certificates, struct slice directory, struct arena *mem, struct tls_pair *pairs, size_t *count)
{
	size_t n = 0;
	while (certificates.n) {
		struct slice item = slice_cut(certificates, ' ', &certificates), key;
		if (item.n == 0)
			continue;
		struct slice cert = slice_cut(item, ',', &key);
		if (n == TLS_MAX_CERTIFICATES || cert.n == 0 || key.n == 0)
			return -EINVAL;
		pairs[n++] = (struct tls_pair){ absolute(cert, directory, mem), absolute(key, directory, mem) };
	}
	*count = n;
	return n ? 0 : -EINVAL;
}
