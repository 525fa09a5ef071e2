/* `porterctl auth`: options, files, the table of commands. */
#include "ctl/ctl_auth.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mail_date.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/text.h"

/* -- options -------------------------------------------------------------------------------------------------------------- */

static bool read_now(struct slice s, int64_t *out)
{
	uint64_t v;
	if (!scan_uint_all(s, 99999999999, &v))
		return mail_date_parse_iso(s, out) || mail_date_parse(s, out, NULL);
	*out = (int64_t)v;
	return true;
}

static const char *take_list(struct slice *list, size_t *count, struct slice value)
{
	if (*count == AUTH_MAX_KEYS)
		return "given too often";
	list[(*count)++] = value;
	return NULL;
}

/* An option with a value; NULL, or what is wrong with it. */
static const char *take_value(struct auth_tool *t, struct slice name, struct slice v)
{
	struct auth_options *o = &t->o;
	static const struct { struct slice name; size_t offset; } plain[] = {
		{ SLICE_INIT("--dns"), offsetof(struct auth_options, zone_file) }, { SLICE_INIT("--trust-anchor"), offsetof(struct auth_options, trust_anchor) },
		{ SLICE_INIT("--id"), offsetof(struct auth_options, id) }, { SLICE_INIT("--domain"), offsetof(struct auth_options, domain) },
		{ SLICE_INIT("--headers"), offsetof(struct auth_options, headers) }, { SLICE_INIT("--forms"), offsetof(struct auth_options, forms) },
		{ SLICE_INIT("--identity"), offsetof(struct auth_options, identity) },
	};
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (slice_eq(name, plain[i].name)) {
			*(struct slice *)(void *)((char *)o + plain[i].offset) = v;
			return NULL;
		}
	if (slice_eq(name, SLICE("--resolver")))
		return (o->resolvers = ctl_resolver(t->ctl, v)).p ? NULL : "no ADDR:PORT";
	if (slice_eq(name, SLICE("--now")))
		return read_now(v, &o->now_s) ? NULL : "no time";
	if (slice_eq(name, SLICE("--client")))
		return (o->client_given = net_ip_parse(v, &o->client)) ? NULL : "no IP address";
	if (slice_eq(name, SLICE("--helo")))
		return o->helo = v, o->helo_given = true, NULL;
	if (slice_eq(name, SLICE("--from")))
		return o->from = v, o->from_given = true, NULL;
	if (slice_eq(name, SLICE("--suffixes")))
		return o->suffix_file = slice_eq(v, SLICE("-")) ? SLICE("") : v, o->suffixes = true, NULL;
	if (slice_eq(name, SLICE("--timeout")))
		return scan_uint_all(v, 600000, &o->timeout_ms) && o->timeout_ms ? NULL : "no milliseconds";
	if (slice_eq(name, SLICE("--expires")))
		return scan_span_all(v, 10 * 365 * 86400, &o->expires_s) ? NULL : "no span of time";
	if (slice_eq(name, SLICE("--selector")))
		return take_list(o->selectors, &o->selector_count, v);
	if (slice_eq(name, SLICE("--key")))
		return take_list(o->keys, &o->key_count, v);
	return "unknown option";
}

static bool take_flag(struct auth_options *o, struct slice name)
{
	bool *flag = slice_eq(name, SLICE("--lax")) ? &o->lax : slice_eq(name, SLICE("--trace")) ? &o->trace : NULL;
	if (flag)
		*flag = true;
	return flag != NULL;
}

static int read_options(struct auth_tool *t, int argc, char *const *argv)
{
	bool more = true;
	for (int i = 0; i < argc; i++) {
		struct slice word = slice_of(argv[i]), value;
		if (!more || word.n < 2 || word.p[0] != '-') {
			if (t->o.word_count == sizeof t->o.words / sizeof *t->o.words)
				return ctl_fail(CTL_USAGE, "auth: too many words");
			t->o.words[t->o.word_count++] = word;
			continue;
		}
		if (slice_eq(word, SLICE("--"))) {
			more = false;
			continue;
		}
		if (take_flag(&t->o, word))
			continue;
		word = slice_cut(word, '=', &value);
		if (!value.p && i + 1 < argc)
			value = slice_of(argv[++i]);
		const char *wrong = value.p ? take_value(t, word, value) : "needs a value, or is unknown";
		if (wrong)
			return ctl_fail(CTL_USAGE, "auth: %.*s: %s", SLICE_FMT(word), wrong);
	}
	return 0;
}

/* -- files ---------------------------------------------------------------------------------------------------------------- */

int auth_read_file(struct auth_tool *t, struct slice name, struct slice *text)
{
	struct buf b = BUF_INIT(AUTH_MAX_MESSAGE);
	char *path = mem_copy(name.p, name.n);
	int fd = STDIN_FILENO;
	bool own = !slice_eq(name, SLICE("-"));
	int failed = own ? file_open(AT_FDCWD, path, O_RDONLY, 0, &fd) : 0;
	ssize_t n = -1;
	char *to;
	while (!failed && (to = buf_room(&b, 65536)) && (n = read(fd, to, 65536)) > 0)
		buf_used(&b, (size_t)n);
	if (failed || n)
		failed = ctl_fail(CTL_NO_INPUT, "auth: %s can't be read%s", path, failed || n < 0 ? "" : ": too large");
	if (own && !failed)
		file_close(&fd);
	mem_free(path);
	*text = failed ? SLICE_NONE : arena_copy(&t->mem, buf_slice(&b));
	buf_free(&b);
	return failed;
}

/* Every LF gets its CR; what has one keeps it. */
static struct slice with_crlf(struct arena *mem, struct slice in)
{
	size_t lines = 0, n = 0;
	for (size_t i = 0; i < in.n; i++)
		lines += in.p[i] == '\n';
	char *to = arena_new(mem, in.n + lines + 1);
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r'))
			to[n++] = '\r';
		to[n++] = in.p[i];
	}
	return slice(to, n);
}

int auth_read_message(struct auth_tool *t, struct slice name, struct slice *message, struct mail_header *header)
{
	struct slice text;
	if (auth_read_file(t, name, &text))
		return CTL_NO_INPUT;
	*message = with_crlf(&t->mem, text);
	if (mail_header_parse(*message, 100000, &t->mem, header))
		return ctl_fail(CTL_DATA, "auth: too many header fields");
	return 0;
}

struct slice auth_domain(struct slice word)
{
	return word.n > 1 && word.p[word.n - 1] == '.' ? slice_head(word, word.n - 1) : word;
}

void auth_split_path(struct slice path, struct slice *local, struct slice *domain)
{
	if (path.n >= 2 && path.p[0] == '<' && path.p[path.n - 1] == '>')
		path = slice(path.p + 1, path.n - 2);
	size_t at = slice_rfind(path, '@');
	*local = slice_head(path, at);
	*domain = at < path.n ? slice_skip(path, at + 1) : SLICE("");
}

/* -- answers -------------------------------------------------------------------------------------------------------------- */

static void add_data(struct buf *out, enum dns_type type, const struct dns_record *r, bool json)
{
	struct buf text = BUF_INIT(2 * DNS_MAX_ANSWER + 64);
	struct net_ip ip = { .is_v4 = type == DNS_A, .bytes = { [10] = 0xff, [11] = 0xff } };
	size_t width = type == DNS_A ? 4 : 16;
	if ((type == DNS_A || type == DNS_AAAA) && r->data.n == width) {
		memcpy(ip.bytes + 16 - width, r->data.p, width);
		net_ip_print(&text, &ip);
	} else if (type == DNS_TLSA) {
		text_add_hex(&text, r->data);
	} else if (type == DNS_MX) {
		buf_addf(&text, "%u %.*s", r->preference, SLICE_FMT(r->data.n ? r->data : SLICE(".")));
	} else {
		buf_add(&text, r->data);
	}
	if (json)
		text_add_json(out, buf_slice(&text));
	else
		text_add_escaped(out, buf_slice(&text));
	buf_free(&text);
}

static const char *answer_word(const struct dns_answer *a)
{
	switch (a->answer) {
	case FOUND: return "found";
	case ABSENT: return a->nxdomain ? "nxdomain" : "nodata";
	case UNSURE: return a->why ? a->why : "unsure";
	}
	return "";
}

void auth_answer_seen(void *arg, enum dns_type type, struct slice name, const struct dns_answer *a)
{
	struct auth_answers *list = arg;
	struct buf *out = &list->text;
	bool json = list->tool->ctl->json;
	if (json) {
		buf_add_cstr(out, list->count ? ",{\"type\":\"" : "{\"type\":\"");
		buf_addf(out, "%s\",", dns_type_name(type));
		auth_json_str(out, "name", name, true);
		auth_json_str(out, "answer", slice_of(answer_word(a)), false);
		buf_addf(out, ",\"secure\":%s,\"ttl\":%u,\"records\":[", a->secure ? "true" : "false", a->ttl_s);
	} else {
		buf_addf(out, "  dns   %s ", dns_type_name(type));
		text_add_escaped(out, name);
		buf_addf(out, ": %s%s\n", answer_word(a), a->secure ? " (secure)" : "");
	}
	for (size_t i = 0; i < a->count; i++) {
		buf_add_cstr(out, json ? i ? "," : "" : "          ");
		add_data(out, type, &a->records[i], json);
		buf_add_cstr(out, json ? "" : "\n");
	}
	buf_add_cstr(out, json ? "]}" : "");
	list->count++;
}

void auth_watch(struct auth_answers *a, struct auth_tool *t, struct mail_dns *dns)
{
	*a = (struct auth_answers){ .tool = t, .text = BUF_INIT(64 << 20) };
	mail_dns_watch(dns, auth_answer_seen, a);
}

void auth_json_str(struct buf *out, const char *key, struct slice value, bool first)
{
	buf_addf(out, "%s\"%s\":", first ? "" : ",", key);
	text_add_json(out, value);
}

/* -- the table ------------------------------------------------------------------------------------------------------------ */

static int open_dns(struct auth_tool *t)
{
	const char *why = "";
	struct dns_settings s = { .resolvers = t->o.resolvers, .zone_file = t->o.zone_file, .trust_anchor = t->o.trust_anchor, .timeout_ms = t->o.timeout_ms };
	t->dns = dns_new(t->loop, &s, &why);
	if (!t->dns)
		return ctl_fail(CTL_NO_INPUT, "auth: %s", why);
	if (t->o.suffixes && !(t->suffixes = suffix_list_new(t->o.suffix_file)))
		return ctl_fail(CTL_NO_INPUT, "auth: the suffix list can't be read");
	return 0;
}

static int run(struct ctl *c, int argc, char **argv, bool asks_dns, int (*command)(struct auth_tool *t))
{
	struct auth_tool t = { .ctl = c, .o = { .now_s = clock_wall_s(), .timeout_ms = 5000 }, .out = BUF_INIT(AUTH_MAX_MESSAGE + (64 << 20)) };
	int code = read_options(&t, argc, argv);
	t.loop = loop_new();
	if (!code && asks_dns)
		code = open_dns(&t);
	if (!code)
		code = command(&t);
	if (!code)
		ctl_print(buf_slice(&t.out));
	dns_free(t.dns);
	suffix_list_free(t.suffixes);
	loop_free(t.loop);
	arena_free(&t.mem);
	buf_free(&t.out);
	return code;
}

#define AUTH_COMMAND(name, asks_dns)                           \
	static int run_##name(struct ctl *c, int argc, char **argv) \
	{                                                          \
		return run(c, argc, argv, asks_dns, auth_##name);      \
	}
AUTH_COMMAND(check, true)
AUTH_COMMAND(spf, true)
AUTH_COMMAND(dkim, true)
AUTH_COMMAND(arc, true)
AUTH_COMMAND(dmarc, true)
AUTH_COMMAND(sign, false)
AUTH_COMMAND(seal, true)
AUTH_COMMAND(dns, true)
AUTH_COMMAND(reports, false)

static int run_send_reports(struct ctl *c, int argc, char **argv)
{
	const char *words[] = { "send-reports" };
	if (argc)
		return ctl_fail(CTL_USAGE, "auth send-reports takes no %s", argv[0]);
	return ctl_settings(c) ? ctl_ask_and_print(c, "queue", words, 1) : CTL_CONFIG;
}

#define AUTH_COMMON "[--dns FILE | --resolver ADDR:PORT] [--trust-anchor FILE] [--timeout MS] [--now TIME] [--json]"

const struct ctl_command ctl_auth_commands[] = {
	{ "auth check", "FILE|- [--client IP] [--helo NAME] [--from PATH] [--id NAME] [--lax] [--suffixes FILE|-] " AUTH_COMMON,
	  "All verdicts for a message, with each DNS answer used and each hash. --dns: answers from a zone file, nothing else is asked; --lax: old "
	  "algorithms and short keys; --suffixes: DMARC by the public suffix list (- the built-in one) instead of the tree walk.", run_check },
	{ "auth spf", "[DOMAIN] --client IP [--from PATH] [--helo NAME] [--trace] " AUTH_COMMON, "SPF for a client and a reverse-path, step by step with --trace.",
	  run_spf },
	{ "auth dkim", "FILE|- [--lax] " AUTH_COMMON, "The verdict on each DKIM signature of a message.", run_dkim },
	{ "auth arc", "FILE|- [--lax] " AUTH_COMMON, "The verdict on a message's ARC chain.", run_arc },
	{ "auth dmarc", "DOMAIN [--trace] [--suffixes FILE|-] " AUTH_COMMON, "The DMARC policy for mail with DOMAIN in From.", run_dmarc },
	{ "auth sign", "FILE|- --domain D --selector S --key FILE [--headers LIST] [--forms FORM/FORM] [--identity I] [--expires SPAN] [--now TIME] [--json]",
	  "The message with a DKIM signature; --selector and --key twice make two. With --json its fields alone. Options about DNS are taken, and nothing is asked.", run_sign },
	{ "auth seal", "FILE|- --domain D --selector S --key FILE --id NAME [--headers LIST] [--forms FORM/FORM] [--lax] " AUTH_COMMON,
	  "The message with an ARC seal on top of the chain it has, which is validated first. With --json that verdict, and the new fields alone.", run_seal },
	{ "auth dns", "DOMAIN [--selector S] " AUTH_COMMON, "What a domain should publish for mail, and beside it what it publishes. Where a porter.conf is found, its host name and the keys that it has for DOMAIN are what should be.", run_dns },
	{ "auth send-reports", "", "Sends the DMARC aggregate reports that were gathered until now, without waiting for the day to end.", run_send_reports },
	{ "auth reports", "FILE|FOLDER|MAILDIR... [--json]", "DMARC aggregate reports that came in, out of mails or plain files, summed up by domain and source.", run_reports },
	{ NULL, NULL, NULL, NULL },
};
