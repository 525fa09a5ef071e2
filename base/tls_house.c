/* Certificates from the parent to a server's context. The texts are kept, since a context is made anew from all of them. */
#include "base/tls_house.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"

enum { MAX_CHAIN_TEXT = 256 << 10 };

struct tls_house {
	struct keeper *keeper;
	struct buf texts[TLS_MAX_CERTIFICATES];
	size_t count;
	struct tls_context *context;
};

static int read_text(int fd, struct buf *out)
{
	ssize_t n = 1;
	for (off_t at = 0; n > 0; at += n) {
		char *room = buf_room(out, 4096);
		if (!room)
			return -EFBIG;
		n = pread(fd, room, 4096, at);
		if (n > 0)
			buf_used(out, (size_t)n);
	}
	return n < 0 ? -errno : 0;
}

static void plan_of(struct tls_house *t, struct tls_certificate certificates[TLS_MAX_CERTIFICATES], struct tls_server_plan *plan)
{
	for (size_t i = 0; i < t->count; i++)
		certificates[i] = (struct tls_certificate){ buf_slice(&t->texts[i]), SLICE_NONE };
	*plan = (struct tls_server_plan){ certificates, t->count, t->keeper, tls_settings.ask_certificate, SLICE("smtp esmtp") };
}

struct tls_house *tls_house_new(struct house *h, struct keeper *k, const char **why)
{
	struct tls_house *t = MEM_NEW(struct tls_house);
	struct tls_certificate certificates[TLS_MAX_CERTIFICATES];
	struct tls_server_plan plan;
	struct buf name = BUF_INIT(32);
	*why = "";
	t->keeper = k;
	for (int fd = 0; fd >= 0 && t->count < TLS_MAX_CERTIFICATES; buf_clear(&name)) {
		buf_addf(&name, "tls-cert:%zu", t->count);
		fd = house_take_file(h, buf_slice(&name));
		if (fd < 0)
			break;
		struct buf *text = &t->texts[t->count++];
		buf_init(text, MAX_CHAIN_TEXT);
		read_text(fd, text); /* what is missing shows when it is parsed */
		close(fd);
	}
	buf_free(&name);
	plan_of(t, certificates, &plan);
	if (t->count)
		t->context = tls_server_new(&plan, why);
	return t;
}

struct tls_context *tls_house_context(struct tls_house *t)
{
	return t->context;
}

static int renew(struct tls_house *t, size_t i, struct buf *text, const char **why)
{
	struct tls_certificate certificates[TLS_MAX_CERTIFICATES];
	struct tls_server_plan plan;
	struct buf before = t->texts[i];
	t->texts[i] = *text;
	plan_of(t, certificates, &plan);
	int error = t->context ? tls_server_reload(t->context, &plan, why) : (t->context = tls_server_new(&plan, why)) ? 0 : -EINVAL;
	if (error)
		t->texts[i] = before;
	else
		*text = before; /* the caller frees it */
	return error;
}

bool tls_house_file(struct tls_house *t, struct slice name, int fd)
{
	struct slice number = name;
	uint64_t i;
	const char *why = "";
	if (!scan_word(&number, SLICE("tls-cert:")) || !scan_uint(&number, TLS_MAX_CERTIFICATES - 1, &i) || i >= t->count)
		return false;
	struct buf text = BUF_INIT(MAX_CHAIN_TEXT);
	int error = read_text(fd, &text);
	error = error ? error : renew(t, (size_t)i, &text, &why);
	buf_free(&text);
	close(fd);
	if (error)
		log_event(LOG_ERROR, "certificate-refused", LOG_STR("file", name), LOG_CSTR("reason", why), LOG_ERRNO(error), LOG_END);
	else
		log_event(LOG_INFO, "certificate", LOG_STR("file", name), LOG_END);
	return true;
}
