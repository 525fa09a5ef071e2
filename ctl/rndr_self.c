/* The check of ourselves, in a few seconds and without a network. */
#include "ctl/rndr_self.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/general_settings.h"
#include "base/scan.h"
#include "ctl/rndr.h"
#include "delivery/mailbox_settings.h"
#include "maps/map.h"
#include "maps/map_key.h"
#include "maps/map_set.h"
#include "maps/prove.h"
#include "maps/resolve.h"
#include "smtpd/smtpd_settings.h"

enum { WAIT_MS = 1500, FILL_MAX = 256 << 20, PATIENCE = 20, MAX_OUT = 1 << 20, MAX_LOOKED_AT = 10000 };

/* Addresses to try ------------------------------------------------------------------------------------------------------------------ */

struct pick {
	struct map_set *set;
	struct arena *mem, look;
	struct rndr_addresses *found;
	struct slice primary;
	size_t looked_at;
};

static bool pick_alias(void *arg, const struct map_entry *e)
{
	struct pick *p = arg;
	struct slice key = slice_find(e->key, '@') < e->key.n ? e->key : map_key_join(e->key, p->primary, p->mem);
	struct mail_path path;
	struct resolved r;
	if (!map_key_split(key, &path.local_part, &path.domain))
		return true;
	resolve_path(p->set, &path, false, &p->look, &r);
	if (r.status.fate == MAIL_OK && r.count == 1 && r.leaves[0].kind == LEAF_HOP)
		p->found->forward = key;
	arena_reset(&p->look);
	return !p->found->forward.n && ++p->looked_at < MAX_LOOKED_AT;
}

static bool pick_relayed(void *arg, const struct map_entry *e)
{
	struct pick *p = arg;
	if (slice_starts(e->value, SLICE("relay ")) && e->key.p[0] != '*' && e->key.p[0] != '.')
		p->found->relayed = arena_copy(p->mem, e->key);
	return !p->found->relayed.n;
}

static bool pick_addresses(struct map_set *set, struct arena *mem, struct rndr_setup *s)
{
	struct map_entry e;
	struct pick p = { .set = set, .mem = mem, .look = ARENA_INIT(1 << 20), .found = &s->addresses };
	if (map_find(set, MAP_DOMAINS, SLICE(MAP_NOTE_PRIMARY), mem, &e) != FOUND)
		return false;
	s->domain = p.primary = e.value;
	s->addresses.known = map_key_join(SLICE("postmaster"), s->domain, mem);
	map_each(set, MAP_ALIASES, pick_alias, &p);
	map_each(set, MAP_DOMAINS, pick_relayed, &p);
	arena_free(&p.look);
	return true;
}

/* The proof ------------------------------------------------------------------------------------------------------------------------- */

static enum prove_grade prove(struct map_set *set, struct prove_summary *sum)
{
	struct prove_plan plan = { .set = set, .size_limit = smtpd_settings.size_limit, .mail_root = mailbox_settings.mail_root };
	return prove_run(&plan, sum);
}

/* What would have gone out ------------------------------------------------------------------------------------------------------------ */

/* Reports that the queue holds or held for the probes' senders: the queue counts those it made (its status), and we look at how many more there are. False: no queue
 * process runs, then there is nobody who could write a report. */
static bool reports_made(struct ctl *c, uint64_t *out)
{
	const char *words[] = { "status" };
	struct buf reply = BUF_INIT(1 << 20);
	int code = ctl_ask(c, "queue", words, 1, &reply);
	struct slice text = buf_slice(&reply);
	size_t at = slice_find_slice(text, SLICE("\"reports\":"));
	bool known = code == 0 && at < text.n;
	if (known) {
		text = slice_skip(text, at + 10);
		known = scan_uint(&text, UINT64_MAX, out);
	}
	buf_free(&reply);
	return known;
}

static bool house_runs(struct ctl *c)
{
	const char *words[] = { "status" };
	struct buf reply = BUF_INIT(1 << 20);
	int code = ctl_ask(c, "parent", words, 1, &reply);
	buf_free(&reply);
	return code == 0;
}

struct self {
	struct ctl *ctl;
	struct loop *loop;
	struct rndr_check *check;
};

static void on_progress(void *arg, const struct rndr_check *c)
{
	struct self *s = arg;
	struct rndr_sum sum = rndr_check_sum(c);
	ctl_progress(s->ctl, "checking", sum.decided < sum.total ? sum.decided : sum.total - 1, sum.total);
}

static void on_done(void *arg, const struct rndr_check *c)
{
	(void)c;
	struct self *s = arg;
	if (s->ctl->terminal)
		fputs("\r\033[K", stderr);
	loop_stop(s->loop);
}

static void print_json(const struct rndr_check *check, uint64_t leaks, const struct prove_summary *sum, bool proved, bool queue_known, uint64_t reports)
{
	struct buf out = BUF_INIT(MAX_OUT);
	rndr_write_json(check, &out);
	printf("{\"leaks\":%llu,\"reports\":", (unsigned long long)leaks);
	if (queue_known)
		printf("%llu", (unsigned long long)reports);
	else
		printf("0,\"report_writer\":false");
	printf(",\"proved\":%s,\"addresses\":%llu,\"refuted\":%llu,\"unsure\":%llu,\"check\":%.*s}\n", proved ? "true" : "false", (unsigned long long)sum->addresses,
	       (unsigned long long)sum->refuted, (unsigned long long)sum->unsure, (int)(out.n ? out.n - 1 : 0), out.p);
	buf_free(&out);
}

static void print_text(const struct rndr_check *check, uint64_t leaks, const struct prove_summary *sum, bool proved)
{
	struct buf out = BUF_INIT(MAX_OUT);
	rndr_write_text(check, &out);
	ctl_print(buf_slice(&out));
	printf("Static proof: %llu addresses, %llu refuted, %llu could not be looked at: %s.\nLeaks: %llu\n", (unsigned long long)sum->addresses,
	       (unsigned long long)sum->refuted, (unsigned long long)sum->unsure, proved ? "proved" : "not proved", (unsigned long long)leaks);
	buf_free(&out);
}

static bool first_listener(struct net_address *out)
{
	struct slice rest, first = slice_cut(smtpd_settings.listen_mx, ' ', &rest);
	const char *why;
	if (!net_address_parse(first, 0, out, &why))
		return false;
	struct net_ip ip = net_ip_of(out), any = { { 0 }, false };
	if (memcmp(ip.bytes, any.bytes, sizeof any.bytes) == 0 || (ip.is_v4 && memcmp(ip.bytes + 12, any.bytes, 4) == 0)) {
		net_ip_parse(SLICE("127.0.0.1"), &ip);
		*out = net_address_of_ip(&ip, net_address_port(out));
	}
	return true;
}

static int check_running(struct ctl *c, struct map_set *set)
{
	static const struct rndr_handler handler = { on_progress, on_done };
	struct rndr_setup setup = { .probe_domain = SLICE("rndr-check.invalid"), .helo = SLICE("rndr-check.invalid"), .wait_ms = WAIT_MS, .fill_max = FILL_MAX };
	struct self self = { .ctl = c };
	struct prove_summary sum;
	uint64_t before = 0, after = 0;
	if (!first_listener(&setup.target))
		return ctl_fail(CTL_CONFIG, "listen-mx names no address");
	if (!pick_addresses(set, &c->mem, &setup))
		return ctl_fail(2, "no domain of ours has mailboxes: there is nothing to check");
	setup.host = general_settings.hostname;
	bool proved = prove(set, &sum) == PROVE_NOTE;
	bool queue_known = reports_made(c, &before);
	for (int i = 0; i < PATIENCE && !queue_known && house_runs(c); i++) {
		usleep(100000);         /* it has only just begun */
		queue_known = reports_made(c, &before);
	}
	self.loop = loop_new();
	self.check = rndr_check_new(self.loop, &setup, &handler, &self);
	loop_run(self.loop);
	queue_known = queue_known && reports_made(c, &after);
	struct rndr_sum result = rndr_check_sum(self.check);
	uint64_t leaks = result.count[RNDR_BOUNCED] + (queue_known && after > before ? after - before : 0);
	if (c->json)
		print_json(self.check, leaks, &sum, proved, queue_known, after - before);
	else
		print_text(self.check, leaks, &sum, proved);
	int code = leaks ? 1 : result.exit_code ? result.exit_code : proved ? 0 : 2;
	rndr_check_free(self.check);
	loop_free(self.loop);
	return code;
}

int rndr_self(struct ctl *c)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	struct map_set *set;
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (map_set_read(slice_of(c->directory), &wrong, &set) < 0) {
		ctl_complain(&wrong);
		complaint_free(&wrong);
		return CTL_DATA;
	}
	int code = check_running(c, set);
	map_set_close(set);
	complaint_free(&wrong);
	return code;
}
