/* porterctl send: a test message, with the dialogue shown. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/mail_date.h"
#include "base/mail_path.h"
#include "base/text.h"
#include "base/unique.h"
#include "ctl/sendmail_content.h"
#include "ctl/tables.h"
#include "ctl/talk.h"
#include "smtpd/smtpd_settings.h"

enum { SMTP_PORT = 25, MAX_CONTENT = 64 << 20 };

/* Where the server listens for mail from everywhere; "*" is reached by loopback. */
static bool find_server(const char *via, struct net_address *to)
{
	const char *why = "none is named";
	struct slice rest, first = via ? slice_of(via) : slice_cut(smtpd_settings.listen_mx, ' ', &rest);
	bool good = net_address_parse(first, via ? SMTP_PORT : 0, to, &why);
	if (!good)
		ctl_fail(0, "%.*s: %s", SLICE_FMT(first), why);
	struct net_ip ip = net_ip_of(to), any = { { 0 }, false }, any4 = { { [10] = 0xff, 0xff }, true }, loopback = { { [10] = 0xff, 0xff, 127, 0, 0, 1 }, true };
	if (good && to->sa.any.sa_family != AF_UNIX && (memcmp(ip.bytes, any.bytes, 16) == 0 || memcmp(ip.bytes, any4.bytes, 16) == 0))
		*to = net_address_of_ip(&loopback, net_address_port(to));
	return good;
}

static void write_message(struct buf *out, struct slice from, const char *to)
{
	struct unique id = unique_new();
	buf_addf(out, "From: <%.*s>\r\nTo: <%s>\r\nSubject: A test of Porter\r\nDate: ", SLICE_FMT(from), to);
	mail_date_print_local(out, clock_wall_s());
	buf_addf(out, "\r\nMessage-ID: <%s@%.*s>\r\nAuto-Submitted: auto-generated\r\n\r\nThis message was sent by porterctl send.\r\n", id.text, SLICE_FMT(general_settings.hostname));
}

static int read_content(const char *file, struct buf *out)
{
	FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	int error = in ? sendmail_read(in, false, out) : -errno;
	if (in && in != stdin)
		fclose(in);
	return error;
}

static int refused(const struct talk *t)
{
	return ctl_fail(t->status.fate == MAIL_LATER ? CTL_TEMPFAIL : 1, "not taken: %u %.*s", t->code, SLICE_FMT(t->status.text));
}

static int say_all(struct talk *t, struct slice from, const char *to, struct slice content)
{
	bool utf8 = !slice_is_ascii(from) || !slice_is_ascii(slice_of(to));
	int error = t->code == 220 ? talk_ask(t, "EHLO %.*s", SLICE_FMT(general_settings.hostname)) : 0;
	if (!error && t->code == 250)
		error = talk_ask(t, "MAIL FROM:<%.*s>%s", SLICE_FMT(from), utf8 ? " SMTPUTF8" : "");
	if (!error && t->code == 250)
		error = talk_ask(t, "RCPT TO:<%s>", to);
	if (!error && t->code == 250)
		error = talk_ask(t, "DATA");
	if (!error && t->code == 354)
		error = talk_content(t, content);
	if (error)
		return ctl_fail(CTL_TEMPFAIL, "%s", t->why);
	return t->code == 250 ? 0 : refused(t);
}

static int unreachable(const struct net_address *server, int error, const struct talk *t)
{
	struct buf where = BUF_INIT(200);
	net_address_print(&where, server);
	ctl_fail(0, "%.*s: %s: %s", SLICE_FMT(buf_slice(&where)), strerror(-error), t->why);
	buf_free(&where);
	return CTL_UNAVAILABLE;
}

/* The reply that decided. */
static void print_json(const struct talk *t, bool taken)
{
	struct buf out = BUF_INIT(4096);
	buf_addf(&out, "{\"taken\":%s,\"code\":%u,\"reply\":", taken ? "true" : "false", t->code);
	text_add_json(&out, t->code ? t->status.text : SLICE(""));
	buf_add_cstr(&out, "}\n");
	ctl_print(buf_slice(&out));
	buf_free(&out);
}

static int run_send(struct ctl *c, int argc, char **argv)
{
	const char *from = ctl_value(&argc, argv, "--from"), *via = ctl_value(&argc, argv, "--via"), *file = ctl_value(&argc, argv, "--file"), *why;
	struct buf sender = BUF_INIT(1024), content = BUF_INIT(MAX_CONTENT);
	struct mail_path path;
	struct net_address server;
	struct talk t;
	if (argc != 1 || ctl_unknown_option(argc, argv))
		return ctl_fail(CTL_USAGE, "send [--from ADDRESS] [--via ADDRESS:PORT] [--file FILE|-] RECIPIENT");
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (mail_path_parse_address(slice_of(argv[0]), &c->mem, &path, &why) || (from && *from && mail_path_parse_address(slice_of(from), &c->mem, &path, &why)))
		return ctl_fail(CTL_USAGE, "this is no address: %s", why);
	if (!find_server(via, &server))
		return CTL_USAGE;
	if (from)
		buf_add_cstr(&sender, from);
	else
		buf_addf(&sender, "postmaster@%.*s", SLICE_FMT(general_settings.hostname));
	int error = file ? read_content(file, &content) : 0;
	if (error)
		return ctl_fail(CTL_NO_INPUT, "%s: %s", file, strerror(-error));
	if (!file)
		write_message(&content, buf_slice(&sender), argv[0]);
	error = talk_open(&t, &server, !c->json);
	int code = error ? unreachable(&server, error, &t) : say_all(&t, buf_slice(&sender), argv[0], buf_slice(&content));
	if (c->json)
		print_json(&t, !code);
	if (t.code)
		talk_ask(&t, "QUIT");
	talk_close(&t);
	buf_free(&sender);
	buf_free(&content);
	return code;
}

const struct ctl_command ctl_send_commands[] = {
	{ "send", "[--from ADDRESS] [--via ADDRESS:PORT] [--file FILE|-] [--json] RECIPIENT",
	  "Sends a test message (or FILE as it stands) to RECIPIENT through this server, or another one, and shows the dialogue.", run_send },
	{ NULL, NULL, NULL, NULL }
};
