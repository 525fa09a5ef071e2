/* The role `smtpd`: the process that speaks SMTP. Holds what its sessions share; ends in order. */
#include "smtpd/smtpd.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/dns_settings.h"
#include "base/file.h"
#include "base/general_settings.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/shared.h"
#include "base/tls.h"
#include "maps/map.h"
#include "maps/maps_settings.h"
#include "queue/attacks.h"
#include "queue/flight.h"
#include "queue/usage.h"
#include "smtpd/check.h"
#include "smtpd/crowd.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/filter_settings.h"
#include "smtpd/harvest.h"
#include "smtpd/heard.h"
#include "smtpd/listener.h"
#include "smtpd/login_settings.h"
#include "smtpd/outcome.h"
#include "smtpd/peer.h"
#include "smtpd/session.h"
#include "smtpd/smtpd_harvest.h"
#include "smtpd/smtpd_maps.h"
#include "smtpd/smtpd_settings.h"
#include "smtpd/smtpd_status.h"
#include "smtpd/smtpd_tls.h"

enum { WANTED_DESCRIPTORS = 65536, STOP_MS = 8000, IDLE_MS = 1000, WORKERS = 1 };

struct self {
	struct smtpd d;
	struct listener *listeners[HOUSE_MAX_LISTENERS];
	size_t listener_count;
	struct loop_timer *patience;
};

/* -- peers ------------------------------------------------------------------------------------------------------------------------------------ */

static int from_mailbox(void *arg, struct ipc_message *m)
{
	struct smtpd *d = arg;
	if (m->type != MAILBOX_STATE)
		return 0;
	if (mailbox_get_state(m->payload, &d->store) < 0)
		return -EPROTO;
	d->store_known = true;
	return 0;
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	struct smtpd *d = &((struct self *)arg)->d;
	(void)index;
	if (slice_eq(role, SLICE("mailbox")))
		peer_attach(d->mailbox, fd);
	else if (slice_eq(role, SLICE("queue")))
		peer_attach(d->queue, fd);
	else if (slice_eq(role, SLICE("delivery")))
		peer_attach(d->delivery, fd);
	else if (slice_eq(role, SLICE("login")))
		peer_attach(d->login, fd);
	else if (slice_eq(role, SLICE("keeper")))
		keeper_attach(d->keeper, fd);
	else if (slice_eq(role, SLICE("resolver")))
		dns_attach(d->dns, fd);
	else
		close(fd);
}

/* -- the end ------------------------------------------------------------------------------------------------------------------------------------ */

static void end_now(void *arg)
{
	house_end(((struct smtpd *)arg)->house, 0);
}

/* What sessions needed malloc keeps, in pieces between what lives longer. */
static void give_back(void *arg)
{
	struct smtpd *d = arg;
	if (!d->session_count)
		mem_trim();
	d->large_ended = false;
	if (d->draining)
		smtpd_session_ended(d);
}

void smtpd_session_ended(struct smtpd *d)
{
	if (d->session_count)
		return;
	if (d->stopping || (d->draining && !outcome_awaits_late(d)))
		loop_later(d->loop, end_now, d);
	else if (d->draining)
		loop_timer_set(d->idle, IDLE_MS); /* a reply that comes late must not be delivered once more by its retry */
	else if (d->large_ended)
		give_back(d); /* a megabyte for a thousand recipients */
	else if (!loop_timer_is_set(d->idle))
		loop_timer_set(d->idle, IDLE_MS);
}

static void close_listeners(struct self *self)
{
	while (self->listener_count)
		listener_free(self->listeners[--self->listener_count]);
}

static void on_drain(void *arg)
{
	struct self *self = arg;
	close_listeners(self);
	self->d.draining = true;
	smtpd_session_ended(&self->d);
}

/* Each session hears 421 as soon as it has no question open. */
static void on_stop(void *arg)
{
	struct self *self = arg;
	close_listeners(self);
	self->d.stopping = true;
	loop_timer_set(self->patience, STOP_MS);
	for (struct session *s = self->d.sessions, *next; s; s = next) {
		next = s->next;
		session_end(s, MAIL_STATUS(MAIL_LATER, 421, 3, 2, "This server is closing, try again later"));
	}
	smtpd_session_ended(&self->d);
}

/* -- the house ------------------------------------------------------------------------------------------------------------------------------------ */

static void on_maps(void *arg, uint64_t generation)
{
	smtpd_maps_switch(&((struct self *)arg)->d, generation);
}

static void on_file(void *arg, struct slice name, int fd)
{
	smtpd_tls_file(&((struct self *)arg)->d, name, fd);
}

static void on_local(void *arg, struct slice user, int fd)
{
	listener_take_local(&((struct self *)arg)->d, user, fd);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *answer)
{
	return smtpd_question(&((struct self *)arg)->d, words, count, answer);
}

static void make_shared_things(struct smtpd *d)
{
	d->worker = worker_new(d->loop, WORKERS, "porter-files");
	clock_watch_begin(&d->clock);
	d->keeper = keeper_new(d->loop);
	d->dns = dns_new_asking(d->loop, dns_rows.timeout_s * 1000);
	d->mailbox = peer_new(d->loop, "mailbox", from_mailbox, NULL, d);
	d->queue = peer_new(d->loop, "queue", outcome_from_queue, heard_queue_is_up, d);
	d->delivery = peer_new(d->loop, "delivery", outcome_from_delivery, NULL, d);
	d->login = peer_new(d->loop, "login", NULL, NULL, d);
}

static void take_listeners(struct self *self)
{
	struct house *h = self->d.house;
	for (size_t i = 0; i < h->listener_count; i++) {
		struct listener *l = listener_new(&self->d, h->listeners[i].name, h->listeners[i].address, h->listeners[i].fd);
		if (l)
			self->listeners[self->listener_count++] = l;
	}
}

static void free_all(struct self *self)
{
	struct smtpd *d = &self->d;
	close_listeners(self);
	while (d->sessions)
		session_free(d->sessions);
	heard_close(d);
	loop_timer_free(self->patience);
	loop_timer_free(d->idle);
	worker_free(d->worker);
	peer_free(d->mailbox);
	peer_free(d->queue);
	peer_free(d->delivery);
	peer_free(d->login);
	tls_free(d->tls);
	keeper_free(d->keeper);
	dns_free(d->dns);
	map_set_close(d->maps);
	crowd_detach(d->crowd);
	attacks_detach(d->attacks);
	flight_detach(d->flight);
}

static struct crowd *take_crowd(struct house *h)
{
	size_t size = crowd_size();
	void *memory = shared_map(h, SLICE("shared:crowd"), crowd_size(), &size);
	memory = memory ? memory : shared_own(size);
	return memory ? crowd_attach(memory, size, (uint32_t)getpid()) : NULL;
}

int smtpd_main(struct house *h)
{
	static const struct house_handler handler = {
		.on_peer = on_peer, .on_maps = on_maps, .on_file = on_file, .on_drain = on_drain, .on_stop = on_stop, .on_question = on_question,
		.on_local = on_local
	};
	static struct setting_table *const tables[] = { &general_setting_table, &smtpd_setting_table, &maps_setting_table, &tls_setting_table, &login_setting_table,
		                                     &dns_setting_table, &filter_setting_table, &evidence_setting_table, &usage_setting_table };
	static struct self self;
	struct smtpd *d = &self.d;
	house_settings(h, tables, sizeof tables / sizeof tables[0]);
	tzset(); /* the zone of our dates, before its files are out of reach */
	d->house = h;
	d->loop = h->loop;
	proc_raise_descriptors(WANTED_DESCRIPTORS);
	d->harvest = smtpd_harvest_attach(h);
	d->crowd = take_crowd(h);
	if (!d->harvest || !d->crowd)
		return 1;
	d->attacks = attacks_take(h);
	heard_open(d);
	make_shared_things(d);
	smtpd_tls_start(d);
	checks_start(d);
	int root = smtpd_maps_root(d);
	house_restrict(h, &(struct proc_plan){ "_porter", root, PROC_CALLS_NETWORK });
	file_close(&root);
	self.patience = loop_timer_new(d->loop, end_now, d);
	d->idle = loop_timer_new(d->loop, give_back, d);
	smtpd_maps_switch(d, h->maps_generation);
	take_listeners(&self);
	int code = house_run(h, &handler, &self);
	free_all(&self);
	return code;
}
