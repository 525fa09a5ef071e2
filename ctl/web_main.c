/* The process `web`: the RNDR check page, /metrics, /healthz. It holds the store of checks and nothing else of the house. */
#include "ctl/web_main.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dns.h"
#include "base/dns_settings.h"
#include "base/general_settings.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/proc.h"
#include "ctl/web_guests.h"
#include "ctl/web_routes.h"
#include "ctl/web_settings.h"
#include "queue/queue_proto.h"

struct self {
	struct house *house;
	struct web_site site;
	struct web_guests *guests;
	struct dns *dns;
	struct ipc *queue;            /* NULL just now */
};

/* -- letters to postmasters ------------------------------------------------------------------------------------------------------------------- */

/* The queue answers nothing. */
static int from_queue(void *arg, struct ipc *from, struct ipc_message *m)
{
	(void)arg, (void)from, (void)m;
	return -EPROTO;
}

static void queue_gone(void *arg, struct ipc *which)
{
	struct self *s = arg;
	if (s->queue == which)
		s->queue = NULL;
	ipc_free(which);
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	static const struct ipc_handler handler = { from_queue, queue_gone };
	struct self *s = arg;
	(void)index;
	if (slice_eq(role, SLICE("resolver")))
		return dns_attach(s->dns, fd);
	if (s->queue)
		ipc_free(s->queue);
	s->queue = ipc_new(s->house->loop, fd, &handler, s);
}

static bool send_letter(void *arg, const struct web_record *r)
{
	struct self *s = arg;
	struct buf link = BUF_INIT(400), payload = BUF_INIT(4096);
	struct slice url = web_settings.page_url;
	while (slice_ends(url, SLICE("/")))
		url.n--;
	buf_addf(&link, "%.*s/consent/%s/%s", SLICE_FMT(url), r->id, r->token);
	const struct slice texts[] = { slice_of(r->domain), slice_of(r->host), buf_slice(&link), slice_of(r->asker) };
	bool good = s->queue && queue_put_texts(&payload, texts, 4) == 0 && ipc_send(s->queue, QUEUE_LETTER, 0, buf_slice(&payload), -1) == 0;
	buf_free(&link);
	buf_free(&payload);
	return good;
}

/* -- the process ---------------------------------------------------------------------------------------------------------------------------------- */

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *answer)
{
	struct self *s = arg;
	uint64_t asked, finished;
	if (count != 1 || !slice_eq(words[0], SLICE("status")))
		return web_guests_ask(s->guests, words, count, answer);
	web_checks_count(s->site.checks, &asked, &finished);
	buf_addf(answer, "{\"connections\":%zu,\"checks_asked\":%llu,\"checks_finished\":%llu}", web_connections(s->site.web), (unsigned long long)asked, (unsigned long long)finished);
	return 0;
}

static void on_drain(void *arg)
{
	house_end(((struct self *)arg)->house, 0);
}

/* Its folder is its root, where users and chroot apply. */
static const char *enter_folder(struct house *h)
{
	const char *directory = arena_cstr(&h->mem, web_settings.directory);
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		log_event(LOG_ERROR, "rndr-directory", LOG_CSTR("path", directory), LOG_ERRNO(-errno), LOG_END);
		return NULL;
	}
	struct proc_plan plan = { "_porter", fd, PROC_CALLS_NETWORK_FILES };
	int error = fchdir(fd) < 0 ? -errno : 0;
	house_restrict(h, &plan);
	close(fd);
	return error ? NULL : ".";    /* Berkeley DB finds nothing in a home that is "/" */
}

static int serve(struct house *h, struct self *self)
{
	static const struct house_handler handler = { .on_peer = on_peer, .on_drain = on_drain, .on_stop = on_drain, .on_question = on_question };
	static struct setting_table *const tables[] = { &general_setting_table, &web_setting_table, &dns_setting_table };
	house_settings(h, tables, sizeof tables / sizeof *tables);
	self->site.attacks = attacks_take(h);
	self->dns = dns_new_asking(h->loop, dns_rows.timeout_s * 1000);
	const char *directory = enter_folder(h);
	if (!directory)
		return 1;
	struct web_checks_setup setup = { .directory = directory, .probe_domain = web_settings.probe_domain.n ? web_settings.probe_domain : general_settings.hostname,
		                          .helo = general_settings.hostname, .limit_asker = web_settings.limit_asker, .limit_domain = web_settings.limit_domain, .dns = self->dns,
		                          .catch_fds = { -1, -1, -1, -1 }, .guests = self->guests,
		                          .send_mail = web_settings.page_url.n ? send_letter : NULL, .arg = self };
	self->site.web = web_new(h->loop, web_route, &self->site);
	size_t catches = 0;
	for (size_t i = 0; i < h->listener_count; i++)
		if (slice_eq(h->listeners[i].name, SLICE("http")))
			web_listen(self->site.web, h->listeners[i].fd);
		else if (catches < 4)
			setup.catch_fds[catches++] = h->listeners[i].fd;
	int error = web_checks_new(h->loop, &setup, &self->site.checks);
	if (error) {
		log_event(LOG_ERROR, "no-store-of-checks", LOG_STR("path", web_settings.directory), LOG_ERRNO(error), LOG_END);
		return 1;
	}
	return house_run(h, &handler, self);
}

int web_main(struct house *h)
{
	struct self self = { .house = h, .guests = web_guests_new() };
	int code = serve(h, &self);
	if (self.queue)
		ipc_free(self.queue);
	web_free(self.site.web);
	web_checks_free(self.site.checks);
	web_guests_free(self.guests);
	attacks_detach(self.site.attacks);
	dns_free(self.dns);
	return code;
}
