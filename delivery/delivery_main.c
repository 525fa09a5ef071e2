/* The role `delivery`: what is special about the process. Resolver, roots of certificates and our own addresses are looked at before the chroot (an empty
 * view of the maps' folder); from then on it has its sockets and what comes along the channels. A Unix socket of an LMTP server is outside of that view:
 * a short-lived helper opens it and hands the descriptor back. */
#include "delivery/delivery_main.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <unistd.h>

#include "base/dns_settings.h"
#include "base/file.h"
#include "base/general_settings.h"
#include "base/house.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/tls.h"
#include "delivery/delivery_settings.h"
#include "delivery/hop.h"
#include "delivery/route_login.h"
#include "delivery/sts_house.h"
#include "delivery/tls_policy_settings.h"
#include "delivery/tls_report_house.h"
#include "delivery/unix_helper.h"
#include "maps/maps_settings.h"

enum { WANTED_DESCRIPTORS = 65536, STOP_MS = 8000, MAX_OWN = 256, MAX_LISTENERS = 64 };

struct self {
	struct house *house;
	struct hops hops;
	struct hop *hop;
	struct keeper *keeper;
	struct unix_helper *helper;
	struct sts_house *sts;
	struct tls_report_house *report;
	struct loop_timer *patience;
	bool ending;
	struct net_ip own[MAX_OWN];
	struct net_address listeners[MAX_LISTENERS];
};

/* The listeners' settings, read for one fact alone: which ports are ours (RFC 5321, 5.1: mail that would loop). Their table is the receiving side's. */
static struct {
	struct slice mx, submission, submissions;
} listen_settings;
static const struct setting listen_rows[] = {
	{ "listen-mx", SETTING_LIST, 0, "*:25", 0, 0, NULL, NULL, "" },
	{ "listen-submission", SETTING_LIST, sizeof(struct slice), "", 0, 0, NULL, NULL, "" },
	{ "listen-submissions", SETTING_LIST, 2 * sizeof(struct slice), "", 0, 0, NULL, NULL, "" },
};
static struct setting_table listen_table = { "listen", listen_rows, 3, &listen_settings };

static void add_listeners(struct self *s, struct slice list)
{
	while (list.n) {
		struct slice item = slice_cut(list, ' ', &list);
		struct net_address a;
		const char *why;
		if (item.n && net_address_parse(item, 0, &a, &why) && s->hops.hosts.listener_count < MAX_LISTENERS)
			s->listeners[s->hops.hosts.listener_count++] = a;
	}
}

static void find_ourselves(struct self *s)
{
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		all = NULL;
	for (const struct ifaddrs *i = all; i && s->hops.hosts.own_count < MAX_OWN; i = i->ifa_next) {
		struct net_address a = { 0 };
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		a.length = i->ifa_addr->sa_family == AF_INET ? sizeof a.sa.v4 : sizeof a.sa.v6;
		memcpy(&a.sa, i->ifa_addr, a.length);
		s->own[s->hops.hosts.own_count++] = net_ip_of(&a);
	}
	if (all)
		freeifaddrs(all);
	add_listeners(s, listen_settings.mx);
	add_listeners(s, listen_settings.submission);
	add_listeners(s, listen_settings.submissions);
	s->hops.hosts.own = s->own;
	s->hops.hosts.listeners = s->listeners;
}

/* -- the house ------------------------------------------------------------------------------------------------------------------- */

static void end_now(void *arg)
{
	house_end(((struct self *)arg)->house, 0);
}

static void on_idle(void *arg)
{
	struct self *s = arg;
	if (s->ending)
		end_now(s);
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	struct self *s = arg;
	(void)index;
	if (slice_eq(role, SLICE("smtpd")) || slice_eq(role, SLICE("queue")))
		hop_add_peer(s->hop, fd);
	else if (slice_eq(role, SLICE("login")))
		route_logins_attach(s->hops.logins, fd);
	else if (slice_eq(role, SLICE("keeper")))
		keeper_attach(s->keeper, fd);
	else if (slice_eq(role, SLICE("resolver")))
		dns_attach(s->hops.hosts.dns, fd);
	else
		close(fd);
}

static void on_drain(void *arg)
{
	struct self *s = arg;
	s->ending = true;
	tls_report_house_stop(s->report);
	if (hop_is_idle(s->hop))
		end_now(s);
}

static void on_stop(void *arg)
{
	struct self *s = arg;
	loop_timer_set(s->patience, STOP_MS);
	on_drain(s);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *answer)
{
	if (count != 1 || !slice_eq(words[0], SLICE("status")))
		return -ENOSYS;
	hop_report(((struct self *)arg)->hop, answer);
	return 0;
}

static void on_helper_done(void *arg, uint64_t id, int status)
{
	struct self *s = arg;
	unix_helper_done(s->helper, id, status);
	tls_report_house_done(s->report, id, status);
}

static void set_up(struct self *s)
{
	static struct setting_table *const tables[] = { &general_setting_table, &dns_setting_table, &delivery_setting_table, &tls_policy_setting_table,
		&maps_setting_table, &tls_setting_table, &listen_table };
	struct house *h = s->house;
	house_settings(h, tables, sizeof tables / sizeof tables[0]);
	hops_init(&s->hops, h->loop);
	s->hops.logins = route_logins_new(h->loop);
	s->hops.helo = general_settings.hostname;
	s->hops.tls = tls_policy_settings.standard;
	s->hops.chunking = delivery_settings.chunking;
	s->hops.connect_ms = delivery_settings.connect_s * 1000;
	s->hops.hosts.mx_port = (uint16_t)delivery_settings.port;
	find_ourselves(s);
	s->hops.hosts.dns = dns_new_asking(h->loop, dns_rows.timeout_s * 1000);
	char *roots = mem_copy(tls_settings.roots.p, tls_settings.roots.n);
	if (tls_load_roots(roots) < 0)
		log_event(LOG_WARN, "tls-roots-unusable", LOG_STR("file", tls_settings.roots), LOG_END);
	mem_free(roots);
}

/* From here on nothing but the network, and the folder of maps, if we may. */
static int confine(struct house *h)
{
	int root = -1;
	char *folder = mem_copy(maps_settings.maps_directory.p, maps_settings.maps_directory.n);
	int error = h->privileged ? file_open(AT_FDCWD, folder, O_PATH | O_DIRECTORY, 0, &root) : 0;
	mem_free(folder);
	if (error) {
		log_event(LOG_ERROR, "maps-directory-unusable", LOG_STR("path", maps_settings.maps_directory), LOG_ERRNO(error), LOG_END);
		return error;
	}
	proc_raise_descriptors(WANTED_DESCRIPTORS);
	struct proc_plan plan = { "_porter", root, PROC_CALLS_NETWORK };
	house_restrict(h, &plan);
	file_close(&root);
	return 0;
}

static void make_things(struct self *self)
{
	struct house *h = self->house;
	if (h->privileged) {
		self->helper = unix_helper_new(h);
		self->hops.open_unix = unix_helper_open;
		self->hops.how = self->helper;
	}
	if (tls_policy_settings.sts)
		self->sts = sts_house_new(h, self->hops.hosts.dns);
	self->hops.sts = self->sts ? sts_house_sts(self->sts) : NULL;
	self->hops.dane = tls_policy_settings.dane;
	self->hops.report = tls_report_house_counts(self->report);
	self->keeper = keeper_new(h->loop);
	struct hop_setup setup = { .hops = &self->hops, .keeper = self->keeper, .window_max = (unsigned)delivery_settings.concurrency, .rate = delivery_settings.rate,
		                   .positive_s = delivery_settings.positive_s, .negative_s = delivery_settings.negative_s, .on_idle = on_idle, .arg = self };
	self->hop = hop_new(h->loop, &setup);
	self->patience = loop_timer_new(h->loop, end_now, self);
}

static void free_things(struct self *self)
{
	struct dns *dns = self->hops.hosts.dns;
	struct route_logins *logins = self->hops.logins;
	loop_timer_free(self->patience);
	hop_free(self->hop);
	keeper_free(self->keeper);
	hops_free(&self->hops);
	route_logins_free(logins);
	if (self->sts)
		sts_house_free(self->sts);
	tls_report_house_free(self->report);
	dns_free(dns);
	unix_helper_free(self->helper);
}

int delivery_main(struct house *h)
{
	static const struct house_handler handler = {
		.on_peer = on_peer, .on_drain = on_drain, .on_stop = on_stop, .on_question = on_question, .on_helper_done = on_helper_done
	};
	static struct self self;
	self.house = h;
	set_up(&self);
	self.report = tls_report_house_new(h, self.hops.hosts.dns);
	if (confine(h))
		return 1;
	make_things(&self);
	int code = house_run(h, &handler, &self);
	free_things(&self);
	return code;
}
