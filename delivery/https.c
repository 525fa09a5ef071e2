/* The one door to libcurl. */
#include "delivery/https.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>

static struct {
	CURL *(*init)(void);
	CURLcode (*set)(CURL *c, CURLoption o, ...);
	CURLcode (*perform)(CURL *c);
	CURLcode (*get)(CURL *c, CURLINFO i, ...);
	void (*cleanup)(CURL *c);
	const char *(*text)(CURLcode e);
	struct curl_slist *(*append)(struct curl_slist *l, const char *s);
	void (*free_list)(struct curl_slist *l);
} curl;

static bool load_curl(void)
{
	void *lib = dlopen("libcurl.so.4", RTLD_NOW);
	static const struct {
		const char *name;
		void **to;
	} wanted[] = { { "curl_easy_init", (void **)&curl.init }, { "curl_easy_setopt", (void **)&curl.set }, { "curl_easy_perform", (void **)&curl.perform },
		{ "curl_easy_getinfo", (void **)&curl.get }, { "curl_easy_cleanup", (void **)&curl.cleanup }, { "curl_easy_strerror", (void **)&curl.text },
		{ "curl_slist_append", (void **)&curl.append }, { "curl_slist_free_all", (void **)&curl.free_list } };
	for (size_t i = 0; lib && i < sizeof wanted / sizeof wanted[0]; i++)
		if (!(*wanted[i].to = dlsym(lib, wanted[i].name)))
			return false;
	return lib != NULL;
}

static size_t take_bytes(char *p, size_t one, size_t n, void *arg)
{
	return buf_add(arg, slice(p, one * n)) ? 0 : one * n;
}

static bool is_plain_text(CURL *c)
{
	char *type = NULL;
	curl.get(c, CURLINFO_CONTENT_TYPE, &type);
	return type && slice_starts_nocase(slice_of(type), SLICE("text/plain")) && (type[10] == '\0' || type[10] == ';' || type[10] == ' ');
}

static CURL *begin(const struct https *h, const char *url, struct buf *out, struct curl_slist **to)
{
	char connect[400];
	CURL *c = load_curl() ? curl.init() : NULL;
	*to = NULL;
	if (!c)
		return NULL;
	curl.set(c, CURLOPT_URL, url);
	curl.set(c, CURLOPT_PROTOCOLS_STR, "https");
	curl.set(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl.set(c, CURLOPT_SSL_VERIFYPEER, 1L);
	curl.set(c, CURLOPT_SSL_VERIFYHOST, 2L);
	curl.set(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl.set(c, CURLOPT_TIMEOUT, (long)HTTPS_S);
	curl.set(c, CURLOPT_NOSIGNAL, 1L);
	curl.set(c, CURLOPT_MAXFILESIZE, (long)out->max);
	curl.set(c, CURLOPT_USERAGENT, "Porter");
	curl.set(c, CURLOPT_WRITEFUNCTION, take_bytes);
	curl.set(c, CURLOPT_WRITEDATA, out);
	if (*h->roots)
		curl.set(c, CURLOPT_CAINFO, h->roots);
	if (*h->connect_to) {
		snprintf(connect, sizeof connect, "::%.300s", h->connect_to);
		*to = curl.append(NULL, connect);
		curl.set(c, CURLOPT_CONNECT_TO, *to);
		curl.set(c, CURLOPT_PROXY, "");
	}
	return c;
}

static CURLcode perform(CURL *c, const char *url, long *status)
{
	CURLcode result = curl.perform(c);
	curl.get(c, CURLINFO_RESPONSE_CODE, status);
	if (result != CURLE_OK || *status / 100 != 2)
		fprintf(stderr, "%s: %s, status %ld\n", url, curl.text(result), *status);
	return result;
}

enum https_end https_get_text(const struct https *h, const char *url, struct buf *out)
{
	struct curl_slist *to;
	long status = 0;
	CURL *c = begin(h, url, out, &to);
	if (!c)
		return HTTPS_FAILED;
	CURLcode result = perform(c, url, &status);
	bool good = result == CURLE_OK && status == 200 && is_plain_text(c);
	curl.free_list(to);
	curl.cleanup(c);
	return good ? HTTPS_GOOD : result == CURLE_PEER_FAILED_VERIFICATION ? HTTPS_UNTRUSTED : HTTPS_FAILED;
}

bool https_post(const struct https *h, const char *url, const char *type, struct slice body)
{
	char field[200];
	struct buf ignored = BUF_INIT(64 << 10);
	struct curl_slist *to;
	long status = 0;
	CURL *c = begin(h, url, &ignored, &to);
	if (!c)
		return false;
	snprintf(field, sizeof field, "Content-Type: %.150s", type);
	struct curl_slist *fields = curl.append(NULL, field);
	curl.set(c, CURLOPT_HTTPHEADER, fields);
	curl.set(c, CURLOPT_POSTFIELDSIZE, (long)body.n);
	curl.set(c, CURLOPT_POSTFIELDS, body.p);
	bool good = perform(c, url, &status) == CURLE_OK && status / 100 == 2;
	curl.free_list(fields);
	curl.free_list(to);
	curl.cleanup(c);
	buf_free(&ignored);
	return good;
}
