/* What the commands about maps share: opening, compiling, telling. */
#include "ctl/ctl_maps.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

#include "base/general_settings.h"
#include "base/net.h"
#include "delivery/hosts.h"
#include "maps/compile.h"
#include "maps/manifest.h"
#include "maps/maps_settings.h"
#include "maps/prove.h"
#include "smtpd/smtpd_settings.h"

enum { MAX_OWN = 256 };

char *maps_path(struct ctl *c, struct slice name)
{
	struct buf b = BUF_INIT(8192);
	if (!name.n || name.p[0] != '/')
		buf_addf(&b, "%s/", c->directory);
	buf_add(&b, name);
	char *path = arena_cstr(&c->mem, buf_slice(&b));
	buf_free(&b);
	return path;
}

static bool open_text(struct ctl *c, struct map_set **out, int *code)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	bool good = map_set_read(slice_of(c->directory), &wrong, out) == 0;
	ctl_complain(&wrong);
	complaint_free(&wrong);
	*code = good ? 0 : CTL_DATA;
	return good;
}

bool maps_open(struct ctl *c, bool text, struct map_set **out, int *code)
{
	if (text)
		return open_text(c, out, code);
	char *maps = arena_cstr(&c->mem, maps_settings.maps_directory), *secrets = arena_cstr(&c->mem, maps_settings.secrets_directory);
	uint64_t n = manifest_current(maps);
	const char *why = "";
	if (!n) {
		*code = ctl_fail(CTL_NO_INPUT, "no maps are compiled below %s yet (porterctl compile); --text looks at the text", maps);
		return false;
	}
	int error = map_set_open(maps, secrets, n, &c->mem, out, &why);
	if (error == -EACCES)       /* secrets are for root */
		error = map_set_open(maps, "", n, &c->mem, out, &why);
	if (error)
		*code = ctl_fail(CTL_DATA, "generation %llu can't be opened: %s: %s", (unsigned long long)n, why,
		                 error == -EBADMSG ? "it is damaged, or of another version; porterctl compile makes a new generation" : strerror(-error));
	return error == 0;
}

int maps_tell(struct ctl *c)
{
	const char *words[] = { "maps" };
	struct buf reply = BUF_INIT(4096);
	int code = ctl_ask(c, "parent", words, 1, &reply);
	if (code > 0)
		ctl_fail(0, "the running porterd keeps the maps it has: %.*s", SLICE_FMT(buf_slice(&reply)));
	buf_free(&reply);
	return code == -ECONNREFUSED || code == 0 ? 0 : code > 0 ? code : CTL_TEMPFAIL;
}

static bool is_own_hop(void *arg, struct slice place)
{
	static struct maps_own *own; /* one configuration a run */
	if (!own)
		own = maps_own_new(arg);
	return maps_is_ourselves(own, place);
}

struct compile_plan maps_plan(struct ctl *c)
{
	return (struct compile_plan){ .directory = slice_of(c->directory), .maps_directory = arena_cstr(&c->mem, maps_settings.maps_directory),
		                      .secrets_directory = arena_cstr(&c->mem, maps_settings.secrets_directory), .keep = maps_settings.keep_generations,
		                      .prove = true, .publish = true, .progress = ctl_progress, .is_ourselves = is_own_hop, .arg = c };
}

int maps_publish(struct ctl *c, bool quiet)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	struct compile_plan plan = maps_plan(c);
	struct compile_result result;
	int error = compile_maps(&plan, &wrong, &result);
	ctl_complain(&wrong);
	complaint_free(&wrong);
	if (error)
		return ctl_fail(error == -EBUSY ? CTL_TEMPFAIL : CTL_DATA, "not compiled; the maps that served before serve on");
	if (!quiet)
		printf("%zu entries compiled, generation %llu\n", result.entries, (unsigned long long)result.generation);
	return maps_tell(c);
}

bool maps_read_path(struct ctl *c, const char *text, struct mail_path *out)
{
	struct slice s = slice_of(text);
	const char *why = NULL;
	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = slice(s.p + 1, s.n - 2);
	if (slice_eq_nocase(s, SLICE("postmaster"))) {
		*out = (struct mail_path){ .local_part = SLICE("postmaster") };
		return true;
	}
	if (mail_path_parse_address(s, &c->mem, out, &why) == 0)
		return true;
	ctl_fail(0, "%s: %s", text, why);
	return false;
}

/* Ourselves ---------------------------------------------------------------------------------------------------------------------------- */

struct maps_own {
	struct hosts_setup setup;
	struct net_ip addresses[MAX_OWN];
	struct net_address listeners[MAX_OWN];
};

static void add_listeners(struct maps_own *o, struct slice list)
{
	while (list.n && o->setup.listener_count < MAX_OWN) {
		struct slice item = slice_cut(list, ' ', &list);
		const char *why;
		if (item.n && net_address_parse(item, 0, &o->listeners[o->setup.listener_count], &why))
			o->setup.listener_count++;
	}
}

struct maps_own *maps_own_new(struct ctl *c)
{
	struct maps_own *o = ARENA_NEW(&c->mem, struct maps_own);
	struct ifaddrs *all = NULL;
	o->setup.own = o->addresses;
	o->setup.listeners = o->listeners;
	add_listeners(o, smtpd_settings.listen_mx);
	add_listeners(o, smtpd_settings.listen_submission);
	add_listeners(o, smtpd_settings.listen_submissions);
	if (getifaddrs(&all) < 0)
		return o;
	for (struct ifaddrs *i = all; i && o->setup.own_count < MAX_OWN; i = i->ifa_next) {
		struct net_address a = { 0 };
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		a.length = i->ifa_addr->sa_family == AF_INET ? sizeof a.sa.v4 : sizeof a.sa.v6;
		memcpy(&a.sa, i->ifa_addr, a.length);
		o->addresses[o->setup.own_count++] = net_ip_of(&a);
	}
	freeifaddrs(all);
	return o;
}

static bool is_own_port(const struct maps_own *o, uint16_t port)
{
	for (size_t i = 0; i < o->setup.listener_count; i++)
		if (net_address_port(&o->listeners[i]) == port)
			return true;
	return false;
}

bool maps_is_ourselves(const struct maps_own *o, struct slice place)
{
	struct slice host;
	struct net_ip ip;
	uint16_t port;
	if (slice_eq_nocase(place, SLICE("mx:localhost"))) /* no name that mail could go to (RFC 6761) */
		return true;
	if (slice_starts(place, SLICE("lmtp:")) || !prove_place_host(place, &host, &port) || !is_own_port(o, port))
		return false;
	if (slice_eq_nocase(host, general_settings.hostname) || slice_eq_nocase(host, SLICE("localhost")))
		return true;
	if (!net_ip_parse(host, &ip))
		return false;
	struct net_address a = net_address_of_ip(&ip, port);
	return hosts_is_ourselves(&o->setup, &a);
}
