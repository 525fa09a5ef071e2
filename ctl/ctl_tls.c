/* Commands about TLS: how a domain's hosts would be protected, by the code that decides it; and the keys for tags. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dns_settings.h"
#include "base/file.h"
#include "base/keeper_keys.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/tls.h"
#include "ctl/dkim_keys.h"
#include "ctl/tables.h"
#include "delivery/delivery_settings.h"
#include "delivery/hosts.h"
#include "delivery/https.h"
#include "delivery/sts.h"
#include "delivery/tls_policy.h"
#include "delivery/tls_policy_settings.h"

/* -- tls DOMAIN ----------------------------------------------------------------------------------------------------------------------------- */

struct tls_tool {
	struct ctl *c;
	struct loop *loop;
	struct sts *sts;
	struct tls_policy *policy;
	struct hosts_setup hosts;
	struct hosts_answer found;      /* a copy that lives in c->mem */
	const char *word;
	bool require;
	int code;
	char domain[256], id[40];       /* of a policy that is being fetched */
	struct buf text;
	struct loop_timer *fetched;
};

/* Here nobody else waits: the fetch is done in place. */
static void fetch_now(void *arg)
{
	struct tls_tool *t = arg;
	char url[400];
	const struct https h = { arena_cstr(&t->c->mem, tls_policy_settings.sts_connect), arena_cstr(&t->c->mem, tls_settings.roots) };
	snprintf(url, sizeof url, "https://mta-sts.%s/.well-known/mta-sts.txt", t->domain);
	buf_clear(&t->text);
	enum https_end end = https_get_text(&h, url, &t->text);
	if (end == HTTPS_GOOD)
		sts_fetched(t->sts, slice_of(t->domain), slice_of(t->id), buf_slice(&t->text), clock_wall_s());
	else
		sts_lost(t->sts, slice_of(t->domain), slice_of(t->id), end);
}

static int fetch(void *how, struct slice domain, struct slice id)
{
	struct tls_tool *t = how;
	snprintf(t->domain, sizeof t->domain, "%.*s", SLICE_FMT(domain));
	snprintf(t->id, sizeof t->id, "%.*s", SLICE_FMT(id));
	loop_timer_set(t->fetched, 0);
	return 0;
}

static void print_target(struct tls_tool *t, size_t i, const struct tls_choice *c, bool last)
{
	static const char *const uses[] = { "never", "may", "must" };
	const struct hosts_target *h = &t->found.targets[i];
	struct buf b = BUF_INIT(4096), address = BUF_INIT(256);
	const char *failed = c->failed == TLS_REPORT_SUCCESS ? "" : tls_report_result_name(c->failed);
	net_address_print(&address, &h->address);
	if (t->c->json) {
		buf_addf(&b, "{\"preference\":%u,\"host\":", h->preference);
		text_add_json(&b, h->host);
		buf_addf(&b, ",\"address\":\"%.*s\",\"policy\":\"%s\",\"tls\":\"%s\",\"failed\":\"%s\",\"why\":", SLICE_FMT(buf_slice(&address)), c->how,
		         c->usable ? uses[c->use] : "unusable", failed);
		text_add_json(&b, c->usable ? SLICE("") : c->status.text);
		buf_add_cstr(&b, last ? "}" : "},");
	} else {
		buf_addf(&b, "%5u  %.*s %.*s  %s: TLS %s%s%.*s\n", h->preference, SLICE_FMT(h->host), SLICE_FMT(buf_slice(&address)), c->how,
		         c->usable ? uses[c->use] : "unusable", c->usable ? "" : ", ", SLICE_FMT(c->usable ? SLICE_NONE : c->status.text));
		if (*failed)
			buf_addf(&b, "         its TLS report: %s\n", failed);
		for (struct slice rest = i && slice_eq(t->found.targets[i - 1].host, h->host) ? SLICE_NONE : c->policy_text, line; rest.n;) {
			line = slice_cut(rest, '\n', &rest);
			buf_addf(&b, "         %.*s\n", SLICE_FMT(line));
		}
	}
	ctl_print(buf_slice(&b));
	buf_free(&b);
	buf_free(&address);
}

static void decided(void *arg, const struct tls_policy_answer *a)
{
	struct tls_tool *t = arg;
	size_t usable = 0;
	if (t->c->json)
		ctl_print(SLICE("["));
	for (size_t i = 0; i < a->count; i++) {
		usable += a->choices[i].usable;
		print_target(t, i, &a->choices[i], i + 1 == a->count);
	}
	if (t->c->json)
		ctl_print(SLICE("]\n"));
	t->code = usable ? 0 : 1;
	loop_stop(t->loop);
}

static void copy_found(struct tls_tool *t, const struct hosts_answer *a)
{
	t->found = *a;
	t->found.domain = arena_copy(&t->c->mem, a->domain);
	t->found.targets = ARENA_ARRAY(&t->c->mem, struct hosts_target, a->count ? a->count : 1);
	for (size_t i = 0; i < a->count; i++) {
		t->found.targets[i] = a->targets[i];
		t->found.targets[i].host = arena_copy(&t->c->mem, a->targets[i].host);
	}
}

static void got_hosts(void *arg, const struct hosts_answer *a)
{
	struct tls_tool *t = arg;
	if (a->status.fate != MAIL_OK) {
		t->code = ctl_fail(a->status.fate == MAIL_NEVER ? 1 : 2, "%.*s", SLICE_FMT(a->status.text));
		loop_stop(t->loop);
		return;
	}
	copy_found(t, a);
	struct tls_policy_host hosts[HOSTS_MAX_TARGETS];
	for (size_t i = 0; i < t->found.count; i++)
		hosts[i] = (struct tls_policy_host){ t->found.targets[i].host, t->found.targets[i].canonical, net_address_port(&t->found.targets[i].address), t->found.targets[i].secure };
	struct tls_policy_question q = { t->found.domain, a->by_mx, a->secure, hosts, t->found.count, slice_of(t->word), t->require, false };
	if (!t->c->json)
		printf("MX records %s, %s by DNSSEC\n", a->by_mx ? "are there" : "are not there (the domain's own addresses)", a->secure ? "proven" : "not proven");
	tls_policy_find(t->policy, &q, decided, t);
}

static int run_tls(struct ctl *c, int argc, char **argv)
{
	const char *word = ctl_value(&argc, argv, "--route");
	bool require = ctl_flag(&argc, argv, "--require-tls");
	const char *why = "";
	if (argc != 1 || ctl_unknown_option(argc, argv))
		return ctl_fail(CTL_USAGE, "porterctl tls DOMAIN [--route none|may|encrypt|verify|dane] [--require-tls]");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	log_open(STDERR_FILENO, LOG_FORM_TEXT, "porterctl");
	log_set_level(LOG_ERROR);
	struct tls_tool t = { .c = c, .loop = loop_new(), .word = word ? word : "", .require = require, .text = BUF_INIT(STS_MAX_TEXT) };
	struct dns_settings dns = dns_settings_made();
	t.hosts = (struct hosts_setup){ .dns = dns_new(t.loop, &dns, &why), .mx_port = (uint16_t)delivery_settings.port };
	if (!t.hosts.dns)
		return ctl_fail(CTL_CONFIG, "DNS can't be asked: %s", why);
	tls_load_roots(arena_cstr(&c->mem, tls_settings.roots));
	t.fetched = loop_timer_new(t.loop, fetch_now, &t);
	t.sts = tls_policy_settings.sts ? sts_new(t.loop, t.hosts.dns, fetch, &t) : NULL;
	struct tls_policy_setup setup = { t.loop, t.hosts.dns, t.sts, tls_policy_settings.dane, tls_policy_settings.standard };
	t.policy = tls_policy_new(&setup);
	struct buf place = BUF_INIT(400);
	buf_addf(&place, "mx:%s", argv[0]);
	hosts_find(t.loop, &t.hosts, buf_slice(&place), got_hosts, &t);
	loop_run(t.loop);
	buf_free(&place);
	tls_policy_free(t.policy);
	sts_free(t.sts);
	dns_free(t.hosts.dns);
	loop_timer_free(t.fetched);
	buf_free(&t.text);
	loop_free(t.loop);
	return t.code;
}

/* -- keys ----------------------------------------------------------------------------------------------------------------------------------- */

static int replace_keys(const char *folder, struct slice text)
{
	int dir, fd, error = file_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0, &dir);
	if (error)
		return error;
	error = file_open(dir, ".mac-keys.new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	if (!error) {
		error = file_write(fd, text);
		error = error ? error : file_sync(fd);
		file_close(&fd);
		error = error ? error : file_rename(dir, ".mac-keys.new", dir, "mac-keys");
		error = error ? error : file_sync(dir);
	}
	file_close(&dir);
	return error;
}

static int read_keys(struct ctl *c, char folder[PATH_MAX], struct buf *text)
{
	char path[PATH_MAX + 16];
	if (!ctl_settings(c))
		return CTL_CONFIG;
	snprintf(folder, PATH_MAX, "%.*s", SLICE_FMT(tls_settings.keys_directory));
	snprintf(path, sizeof path, "%s/mac-keys", folder);
	int error = ctl_read_file(path, KEEPER_MAX_KEYS_TEXT, text);
	return error ? ctl_fail(CTL_NO_INPUT, "%s: %s (porterd makes it when it first starts)", path, strerror(-error)) : 0;
}

static int run_keys_list(struct ctl *c, int argc, char **argv)
{
	char folder[PATH_MAX];
	struct buf text = BUF_INIT(KEEPER_MAX_KEYS_TEXT + 4096), out = BUF_INIT(65536);
	struct keeper_mac_key key;
	(void)argv;
	int code = argc ? ctl_fail(CTL_USAGE, "porterctl keys list takes no argument") : read_keys(c, folder, &text);
	struct slice rest = buf_slice(&text), before = SLICE_NONE;
	while (!code && keeper_keys_next(&rest, &key) > 0) {
		buf_addf(&out, "%.*s %u%s\n", SLICE_FMT(key.purpose), key.number, slice_eq(before, key.purpose) ? "" : "  signs");
		before = key.purpose;
	}
	ctl_print(buf_slice(&out));
	mem_wipe(&key, sizeof key);
	buf_free(&text);
	buf_free(&out);
	return code;
}

static int run_keys_rotate(struct ctl *c, int argc, char **argv)
{
	char folder[PATH_MAX];
	struct buf text = BUF_INIT(KEEPER_MAX_KEYS_TEXT + 4096), next = BUF_INIT(KEEPER_MAX_KEYS_TEXT);
	if (argc != 1 || (strcmp(argv[0], "srs") != 0 && strcmp(argv[0], "batv") != 0))
		return ctl_fail(CTL_USAGE, "porterctl keys rotate srs|batv");
	int code = ctl_settings(c) ? keys_lock(arena_cstr(&c->mem, tls_settings.keys_directory)) : CTL_CONFIG;
	code = code ? code : read_keys(c, folder, &text);
	int error = code ? 0 : keeper_keys_rotate(buf_slice(&text), slice_of(argv[0]), 4, &next);
	error = error || code ? error : replace_keys(folder, buf_slice(&next));
	if (error)
		code = ctl_fail(CTL_IO, "nothing was changed: %s", strerror(-error));
	else if (!code)
		printf("a new key signs; the three before it are taken still. A running porterd sees it within the setting tls-look\n");
	buf_free(&text);
	buf_free(&next);
	return code;
}

const struct ctl_command ctl_tls_commands[] = {
	{ "tls", "DOMAIN [--route WORD] [--require-tls] [--json]", "How connections to a domain's mail hosts would be protected: DANE, MTA-STS, routes; and what is wrong with a policy itself, in the words of TLS reports (failed in JSON).", run_tls },
	{ "keys list", "", "The keys for SRS and BATV tags by number; never the keys themselves.", run_keys_list },
	{ "keys rotate", "srs|batv", "A new key for tags; the older ones are taken until three more came.", run_keys_rotate },
	{ NULL, NULL, NULL, NULL }
};
