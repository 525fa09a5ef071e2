/* porterctl rndr-check: the check as a command. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dns.h"
#include "base/mem.h"
#include "base/scan.h"
#include "ctl/ctl.h"
#include "ctl/rndr.h"
#include "ctl/rndr_catch.h"
#include "ctl/rndr_consent.h"
#include "ctl/rndr_house.h"
#include "ctl/rndr_self.h"
#include "ctl/tables.h"
#include "maps/map_key.h"

enum { WAIT_S = 60, MAX_WAIT_S = 86400, PAUSE_MS = 500, AGAIN_S = 60, STAMP_S = 30, MAX_OUT = 1 << 20, OWN_FILL_MAX = 256 << 20 };

struct run {
	struct ctl *ctl;
	struct loop *loop;
	struct dns *dns;
	struct rndr_setup setup;
	struct consent *consent;
	struct rndr_check *check;
	struct rndr_catch *catch;
	struct rndr_house *house;     /* catches, with --catch porter */
	bool by_house;
	bool own;                     /* an address of this machine */
	bool told_later;
	int code;
};

/* The catcher ----------------------------------------------------------------------------------------------------------------------- */

static bool knows(void *arg, struct slice recipient)
{
	struct run *r = arg;
	return r->check && rndr_check_knows(r->check, recipient);
}

static void on_message(void *arg, const struct catch_message *m)
{
	struct run *r = arg;
	if (r->check)
		rndr_check_return(r->check, m->recipient, m->bytes, m->body);
}

static const struct catch_handler catch_handler = { knows, on_message };

/* The check ------------------------------------------------------------------------------------------------------------------------- */

static void on_progress(void *arg, const struct rndr_check *c)
{
	struct run *r = arg;
	struct rndr_sum s = rndr_check_sum(c);
	if (s.again_left_ms && !r->told_later)
		fprintf(stderr, "%s%u ways were told to come again later (greylisting); waiting %llu s\n", r->ctl->terminal ? "\r\033[K" : "porterctl: ", s.deferred,
		        (unsigned long long)(s.again_left_ms + 999) / 1000);
	r->told_later = s.again_left_ms > 0;
	if (s.wait_left_ms && r->ctl->terminal)
		fprintf(stderr, "\rwaiting for returns, %llu s left \033[K", (unsigned long long)s.wait_left_ms / 1000);
	else
		ctl_progress(r->ctl, "probing", s.decided < s.total ? s.decided : s.total - 1, s.total);
}

static void on_done(void *arg, const struct rndr_check *c)
{
	struct run *r = arg;
	struct buf out = BUF_INIT(MAX_OUT);
	if (r->ctl->terminal)
		fputs("\r\033[K", stderr);
	if (r->ctl->json)
		rndr_write_json(c, &out);
	else
		rndr_write_text(c, &out);
	ctl_print(buf_slice(&out));
	buf_free(&out);
	r->code = rndr_check_sum(c).exit_code;
	loop_stop(r->loop);
}

static void begin_check(struct run *r)
{
	static const struct rndr_handler handler = { on_progress, on_done };
	r->check = rndr_check_new(r->loop, &r->setup, &handler, r);
	if (r->by_house && (r->code = rndr_house_begin(r->ctl, r->loop, r->check, &r->house)))
		loop_stop(r->loop);
}

static void refuse(struct run *r, struct slice why)
{
	struct buf token = BUF_INIT(100);
	consent_token(&token, r->setup.domain);
	r->code = ctl_fail(2, "%.*s may not be tested: %.*s.\nIf it is yours, let its domain say so, or the server's banner (its 220 line):\n  _rndr-check.%.*s. IN TXT \"%.*s\"\n  220 %.*s %.*s", SLICE_FMT(r->setup.host), SLICE_FMT(why),
	                   SLICE_FMT(r->setup.domain), SLICE_FMT(buf_slice(&token)), SLICE_FMT(r->setup.host), SLICE_FMT(buf_slice(&token)));
	buf_free(&token);
	loop_stop(r->loop);
}

/* Once in half a minute, whoever asks for it on this machine as this user: counted when messages are about to go to somebody else's machine. */
static int rate_limit(void)
{
	char path[300];
	struct stat st;
	const char *dir = getenv("XDG_RUNTIME_DIR");
	snprintf(path, sizeof path, "%s/porter-rndr-check-%u", dir && dir[0] == '/' ? dir : "/tmp", (unsigned)getuid());
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fd < 0 ? 0 : (close(fd), 0);
	int64_t now = clock_wall_s();
	bool soon = st.st_size > 0 && now - st.st_mtim.tv_sec < STAMP_S && now >= st.st_mtim.tv_sec;
	if (!soon && (ftruncate(fd, 0) < 0 || write(fd, "x", 1) != 1))
		soon = false;
	close(fd);
	return soon ? ctl_fail(CTL_TEMPFAIL, "a check of another machine was begun less than %d s ago; wait a little", STAMP_S) : 0;
}

static void on_consent(void *arg, const struct consent_result *c)
{
	struct run *r = arg;
	if (!c->given)
		return refuse(r, buf_slice(&c->why));
	r->setup.target = c->address;
	char question[400];
	snprintf(question, sizeof question, "Send up to %d marked messages to %.*s for %.*s?", RNDR_WAYS, SLICE_FMT(slice_head(buf_slice(&c->host), 100)),
	         SLICE_FMT(slice_head(r->setup.domain, 100)));
	if (!ctl_confirm(r->ctl, question)) {
		r->code = ctl_fail(2, "nothing was sent; say y, or give --yes");
		return loop_stop(r->loop);
	}
	if (!r->own && (r->code = rate_limit()))
		return loop_stop(r->loop);
	begin_check(r);
}

/* The command line ------------------------------------------------------------------------------------------------------------------ */

static bool read_ways(const char *list, uint32_t *out)
{
	struct slice rest = slice_of(list);
	while (rest.n) {
		struct slice word = slice_cut(rest, ',', &rest);
		unsigned w = 0;
		while (w < RNDR_WAYS && !slice_eq(rndr_ways[w].word, word))
			w++;
		if (w == RNDR_WAYS)
			return false;
		*out |= 1u << w;
	}
	return *out != 0;
}

static bool read_span(const char *text, uint64_t *ms)
{
	uint64_t s;
	if (!text)
		return true;
	if (!scan_span_all(slice_of(text), MAX_WAIT_S, &s))
		return false;
	*ms = s * 1000;
	return true;
}

/* Servers trust their own machine: from one of its addresses that nobody trusts the probes are a stranger's. */
static bool read_source(const char *text, struct net_address *out)
{
	struct net_ip ip;
	if (!text)
		return true;
	if (!net_ip_parse(slice_of(text), &ip))
		return false;
	*out = net_address_of_ip(&ip, 0);
	return true;
}

static int read_options(struct run *r, int *argc, char **argv, const char **catch, const char **resolver)
{
	struct rndr_setup *s = &r->setup;
	struct rndr_addresses *a = &s->addresses;
	const struct {
		const char *name;
		struct slice *to;
	} texts[] = { { "--known", &a->known }, { "--dead-alias", &a->dead_alias }, { "--forward", &a->forward }, { "--full", &a->full }, { "--vacation", &a->vacation },
		      { "--deferred", &a->deferred }, { "--relayed", &a->relayed }, { "--probe-domain", &s->probe_domain } };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		const char *value = ctl_value(argc, argv, texts[i].name);
		*texts[i].to = value ? slice_of(value) : SLICE("");
	}
	const char *domain = ctl_value(argc, argv, "--domain"), *ways = ctl_value(argc, argv, "--ways"), *why;
	s->wait_ms = WAIT_S * 1000;
	s->pause_ms = PAUSE_MS;
	s->again_ms = AGAIN_S * 1000;
	if (!read_span(ctl_value(argc, argv, "--wait"), &s->wait_ms) || !read_span(ctl_value(argc, argv, "--again"), &s->again_ms))
		return ctl_fail(CTL_USAGE, "--wait and --again want a time: 90, 90s, 5m");
	if (!read_source(ctl_value(argc, argv, "--source"), &s->source))
		return ctl_fail(CTL_USAGE, "--source wants an address of this machine, in digits");
	*catch = ctl_value(argc, argv, "--catch");
	*resolver = ctl_value(argc, argv, "--resolver");
	if (ways && !read_ways(ways, &s->ways))
		return ctl_fail(CTL_USAGE, "--ways wants words with commas: unknown,mixed,...; porterctl rndr-check --help lists them");
	if (!domain)
		return ctl_fail(CTL_USAGE, "whose mail is it? --domain DOMAIN");
	why = map_key_domain(slice_of(domain), &r->ctl->mem, &s->domain);
	if (why)
		return ctl_fail(CTL_USAGE, "--domain %s: %s", domain, why);
	if (!a->known.n)
		a->known = map_key_join(SLICE("postmaster"), s->domain, &r->ctl->mem);
	return 0;
}

/* Without --catch, for a server on this machine: the forged senders are of a loopback address of their own, and a listener of ours on its port 25 is their MX. */
static int open_own_catch(struct run *r)
{
	struct net_address a;
	struct net_ip ip;
	struct buf text = BUF_INIT(64);
	unsigned pid = (unsigned)getpid();
	buf_addf(&text, "127.%u.%u.%u", 64 + pid % 64, pid / 64 % 256, 1 + pid / 16384 % 250);
	net_ip_parse(buf_slice(&text), &ip);
	a = net_address_of_ip(&ip, 25);
	int fd = r->own && !r->setup.probe_domain.n ? net_listen(&a, false, 128) : -1;
	r->setup.deaf = fd < 0;
	if (fd >= 0) {
		struct buf literal = BUF_INIT(64);
		buf_addf(&literal, "[%.*s]", SLICE_FMT(buf_slice(&text)));
		r->setup.probe_domain = arena_copy(&r->ctl->mem, buf_slice(&literal));
		buf_free(&literal);
		r->catch = rndr_catch_new(r->loop, fd, SLICE(RNDR_CANARY), &catch_handler, r);
	} else {
		fprintf(stderr, "porterctl: nothing listens for what comes back (--catch ADDRESS:PORT), so only refusals can be told from the rest\n");
	}
	buf_free(&text);
	return 0;
}

static int open_catch(struct run *r, const char *text)
{
	struct net_address a;
	const char *why;
	if (!text)
		return open_own_catch(r);
	if (strcmp(text, "porter") == 0) {
		r->by_house = true;
		return rndr_house_domain(r->ctl, &r->setup.probe_domain);
	}
	if (!net_address_parse(slice_of(text), 25, &a, &why))
		return ctl_fail(CTL_USAGE, "--catch %s: %s", text, why);
	int fd = net_listen(&a, false, 128);
	if (fd < 0)
		return ctl_fail(CTL_UNAVAILABLE, "--catch %s: %s", text, strerror(-fd));
	r->catch = rndr_catch_new(r->loop, fd, SLICE(RNDR_CANARY), &catch_handler, r);
	return 0;
}

static bool split_host(const char *text, struct slice *host, uint16_t *port)
{
	struct slice s = slice_of(text);
	uint64_t n = 25;
	size_t colon = slice_rfind(s, ':');
	*host = s;
	if (colon < s.n && (slice_find(s, ':') == colon || (s.p[0] == '[' && s.p[colon - 1] == ']'))) {
		if (!scan_uint_all(slice_skip(s, colon + 1), 65535, &n) || !n)
			return false;
		*host = slice_head(s, colon);
	}
	*port = (uint16_t)n;
	return host->n > 0;
}

static int run_plan(struct run *r, const char *target, const char *catch, const char *resolver)
{
	struct dns_settings dns = { .resolvers = resolver ? slice_of(resolver) : SLICE(""), .timeout_ms = 10000 };
	struct consent_plan plan = { .domain = r->setup.domain, .own_ok = true, .banner_ok = true };
	const char *why;
	if (!split_host(target, &plan.host, &plan.port))
		return ctl_fail(CTL_USAGE, "%s: HOST or HOST:PORT is wanted", target);
	struct net_ip ip;
	struct slice bare = plan.host.p[0] == '[' ? slice(plan.host.p + 1, plan.host.n - 2) : plan.host;
	r->own = net_ip_parse(bare, &ip) && consent_is_own_address(&ip);
	if (r->own)
		r->setup.pause_ms = 20, r->setup.fill_max = OWN_FILL_MAX;     /* ours to burden */
	r->setup.host = plan.host;
	char name[256] = "localhost";
	gethostname(name, sizeof name - 1);
	r->setup.helo = arena_copy(&r->ctl->mem, slice_of(name));
	r->dns = dns_new(r->loop, &dns, &why);
	if (!r->dns)
		return ctl_fail(CTL_UNAVAILABLE, "no DNS: %s", why);
	int code = open_catch(r, catch);
	if (code)
		return code;
	if (!r->setup.probe_domain.n)
		r->setup.probe_domain = SLICE("[127.0.0.1]");
	struct buf token = BUF_INIT(100);
	consent_token(&token, r->setup.domain);
	plan.token = arena_copy(&r->ctl->mem, buf_slice(&token));
	buf_free(&token);
	r->consent = consent_ask(r->loop, r->dns, &plan, on_consent, r);
	loop_run(r->loop);
	return r->code;
}

static int run_check(struct ctl *c, int argc, char **argv)
{
	const char *catch = NULL, *resolver = NULL;
	struct run r = { .ctl = c, .code = 2 };
	if (argc == 1 && strcmp(argv[0], "self") == 0)
		return rndr_self(c);
	if (argc == 0)
		return ctl_fail(CTL_USAGE, "rndr-check HOST[:PORT] --domain DOMAIN, or rndr-check self; porterctl rndr-check --help tells all");
	int code = read_options(&r, &argc, argv, &catch, &resolver);
	if (code)
		return code;
	if (argc != 1 || argv[0][0] == '-')
		return ctl_fail(CTL_USAGE, "one HOST[:PORT] is wanted%s%s", ctl_unknown_option(argc, argv) ? "; this option is unknown: " : "",
		                ctl_unknown_option(argc, argv) ? ctl_unknown_option(argc, argv) : "");
	r.loop = loop_new();
	code = run_plan(&r, argv[0], catch, resolver);
	consent_free(r.consent);
	rndr_house_free(r.house);
	rndr_check_free(r.check);
	rndr_catch_free(r.catch);
	dns_free(r.dns);
	loop_free(r.loop);
	return code;
}

const struct ctl_command ctl_rndr_commands[] = {
	{ "rndr-check",
	  "self | HOST[:PORT] --domain DOMAIN [--catch ADDRESS:PORT] [--probe-domain DOMAIN] [--known A] [--forward A] [--full A] [--dead-alias A] [--vacation A] [--deferred A]"
	  " [--relayed DOMAIN] [--ways LIST] [--wait TIME] [--again TIME] [--source ADDRESS] [--resolver ADDRESS] [--yes] [--json]",
	  "Finds out whether a mail server returns spam to forged senders. Tests this machine's servers, and those whose domain or banner consents; asks before it sends; at most one "
	  "message for each of sixteen ways. Exit 0: none comes back; 1: it backscatters; 2: could not tell.\n\n"
	  "It plays the reverse NDR attack harmlessly against a server that you run or may test: marked messages with forged senders of its own, with a pause between them, one for each way; "
	  "one that was told to come later (greylisting) comes again after --again TIME (60s), twice at most. Marks stand in the reverse-path, in Message-ID and in X-RNDR-Check; they are keyed "
	  "(MAC), so that a guessed or old return counts for nothing.\n\n"
	  "Whom it may test: this machine's own addresses, loopback among them; the MX hosts of a DOMAIN that has a TXT record _rndr-check.DOMAIN with the token that this command names; a server "
	  "whose banner (its 220 line) holds that token. Nothing is sent to others; their banner is read. Before anything is sent it asks (--yes answers). Other machines are tested once in half "
	  "a minute at most.\n\n"
	  "The ways: unknown, mixed (1 known and 9 unknown), oversize, loop, success-dsn, report (a report to be passed on), null-sender, quoted, subaddress; and with an address of yours: "
	  "dead-alias (--dead-alias), forward (--forward: one that its remote host refuses), relayed (--relayed DOMAIN), full (--full), delay (--deferred: one whose next hop does not answer), "
	  "auto-reply (--vacation), outcomes (some of these in one transaction). --known is a mailbox that exists, else postmaster@DOMAIN; it gets up to five odd messages. --ways LIST takes some of "
	  "them, with commas.\n\n"
	  "What comes back is caught by a listener as the forged senders' MX: --catch ADDRESS:PORT with --probe-domain DOMAIN whose MX leads there; --catch porter: the running Porter of -c DIR, by "
	  "its listen-rndr-catch and rndr-probe-domain; without --catch, for servers of this machine, port 25 of a loopback address of its own. It listens --wait TIME (60s) after the last message. --source ADDRESS is where the messages come from.\n\n"
	  "Verdicts: refused in session: the client's own server tells its own user. accepted and silent: taken, and nothing came back while it listened: delivered, or dropped; where nobody can have "
	  "the message that is a suspected drop, unproved. accepted and bounced: backscatter; with the bytes that came back, how long it took, and whether the spam's body was in it. could not test: the note says why. "
	  "Exit 0 wants the plain attack refused and nothing lost in silence.\n\n"
	  "self checks the running Porter of -c DIR in a few seconds, without a network: the ways that its maps have addresses for, how many reports its queue wrote meanwhile, and the static proof "
	  "of porterctl prove beside them.", run_check },
	{ NULL, NULL, NULL, NULL }
};
