/* Certificates come from the parent as files "tls-cert:N", and again when they were renewed: then connections to come use the new ones. */
#include "smtpd/smtpd_tls.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/tls.h"

enum { MAX_CHAIN = 256 << 10 };

static struct {
	struct buf chain[TLS_MAX_CERTIFICATES];
	size_t count;
} held;

static bool read_all(int fd, struct buf *out)
{
	buf_init(out, MAX_CHAIN);
	for (;;) {
		char *room = buf_room(out, 4096);
		ssize_t n = room ? pread(fd, room, 4096, (off_t)out->n) : -1;
		if (n <= 0)
			return n == 0 && out->n;
		buf_used(out, (size_t)n);
	}
}

static void plan_of(struct smtpd *d, struct tls_certificate *list, struct tls_server_plan *plan)
{
	for (size_t i = 0; i < held.count; i++)
		list[i] = (struct tls_certificate){ buf_slice(&held.chain[i]), SLICE("") };
	*plan = (struct tls_server_plan){ .certificates = list, .count = held.count, .keeper = d->keeper, .ask_certificate = tls_settings.ask_certificate, .alpn = SLICE("smtp esmtp") };
}

void smtpd_tls_start(struct smtpd *d)
{
	static struct tls_certificate list[TLS_MAX_CERTIFICATES];
	struct tls_server_plan plan;
	const char *why = "";
	char name[32];
	for (held.count = 0; held.count < TLS_MAX_CERTIFICATES; held.count++) {
		snprintf(name, sizeof name, "tls-cert:%zu", held.count);
		int fd = house_take_file(d->house, slice_of(name));
		if (fd < 0)
			break;
		bool good = read_all(fd, &held.chain[held.count]);
		close(fd);
		if (!good)
			break;
	}
	if (!held.count)
		return;
	plan_of(d, list, &plan);
	d->tls = tls_server_new(&plan, &why);
	if (!d->tls)
		log_event(LOG_ERROR, "certificates-unusable", LOG_CSTR("why", why), LOG_END);
}

void smtpd_tls_file(struct smtpd *d, struct slice name, int fd)
{
	static struct tls_certificate list[TLS_MAX_CERTIFICATES];
	struct tls_server_plan plan;
	struct buf chain;
	const char *why = "";
	uint64_t n;
	bool mine = scan_word(&name, SLICE("tls-cert:")) && scan_uint_all(name, held.count ? held.count - 1 : 0, &n) && held.count;
	if (mine && read_all(fd, &chain)) {
		struct buf old = held.chain[n];
		held.chain[n] = chain;
		plan_of(d, list, &plan);
		if (d->tls && tls_server_reload(d->tls, &plan, &why) < 0) {
			house_alert(d->house, slice_of(why));
			held.chain[n] = old;
			old = chain;
		}
		buf_free(&old);
	}
	close(fd);
}
