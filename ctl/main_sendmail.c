/* The sendmail command: what cron, mailx, PHP and scripts hand their mail to. An ordinary program without any right of its own: who it speaks for says the kernel. By
 * the name newaliases it compiles the maps, by the name mailq it lists the queue. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/general_settings.h"
#include "base/setting.h"
#include "ctl/sendmail_content.h"
#include "ctl/sendmail_send.h"
#include "queue/envelope.h"

enum { MAX_CONF = 1 << 20 };

enum mode { MODE_SEND = 'm', MODE_SPEAK = 's', MODE_QUEUE = 'p', MODE_VERIFY = 'v', MODE_ALIASES = 'i', MODE_RUN = 'q' };

struct options {
	enum mode mode;
	const char *directory, *sender, *full_name;
	bool by_header, dot_is_content, verbose;
	uint8_t notify;
	struct slice envelope_id;
	bool return_full, return_headers;
	const char *run_option, *run_value; /* of porterctl queue retry */
	char **recipients;
	int recipient_count;
};

/* -- options -------------------------------------------------------------------------------------------------------------------------------- */

static bool read_notify(const char *text, uint8_t *out)
{
	struct slice rest = slice_of(text);
	while (rest.n) {
		struct slice word = slice_cut(rest, ',', &rest);
		uint8_t bit = slice_eq_nocase(word, SLICE("never")) ? NOTIFY_NEVER : slice_eq_nocase(word, SLICE("success")) ? NOTIFY_SUCCESS :
			      slice_eq_nocase(word, SLICE("failure")) ? NOTIFY_FAILURE : slice_eq_nocase(word, SLICE("delay")) ? NOTIFY_DELAY : 0;
		if (!bit)
			return false;
		*out |= bit;
	}
	return *out && (*out == NOTIFY_NEVER || !(*out & NOTIFY_NEVER));
}

static int take_mode(struct options *o, const char *value)
{
	if (strlen(value) != 1 || !strchr("mspvi", *value))
		return sendmail_fail(SENDMAIL_USAGE, "-b%s is not offered here (-bm -bs -bp -bv -bi are); porterd is the daemon", value);
	o->mode = (enum mode)*value;
	return 0;
}

/* -o and -O set what other mail servers have for options; what matters here is known, the rest is passed over. */
static void take_old_option(struct options *o, const char *value)
{
	if (strcmp(value, "i") == 0 || strcmp(value, "IgnoreDots") == 0)
		o->dot_is_content = true;
}

static int take_option(struct options *o, int letter, const char *value)
{
	switch (letter) {
	case 'b':
		return take_mode(o, value);
	case 'C':
		o->directory = value;
		return 0;
	case 'f':
	case 'r':
		o->sender = value;
		return 0;
	case 'F':
		o->full_name = value;
		return 0;
	case 'i':
		o->dot_is_content = true;
		return 0;
	case 'o':
	case 'O':
		take_old_option(o, value);
		return 0;
	case 't':
		o->by_header = true;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	case 'N':
		return read_notify(value, &o->notify) ? 0 : sendmail_fail(SENDMAIL_USAGE, "-N %s: never, or of success,failure,delay", value);
	case 'R':
		o->return_full = strcasecmp(value, "full") == 0;
		o->return_headers = strcasecmp(value, "hdrs") == 0;
		return o->return_full || o->return_headers ? 0 : sendmail_fail(SENDMAIL_USAGE, "-R %s: full or hdrs", value);
	case 'V':
		o->envelope_id = slice_of(value);
		return o->envelope_id.n <= 100 && slice_is_ascii(o->envelope_id) ? 0 : sendmail_fail(SENDMAIL_USAGE, "-V: at most 100 bytes of ASCII");
	case 'A': case 'B': case 'd': case 'e': case 'G': case 'h': case 'L': case 'm': case 'n': case 'p': case 'U': case 'X':
		return 0; /* of other mail servers, without a meaning here */
	}
	return sendmail_fail(SENDMAIL_USAGE, "the option -%c is unknown", letter == '?' ? optopt : letter);
}

/* -q: all of the queue; -qI ID, -qR RECIPIENT, -qS SENDER: of those. -q30m is a daemon's. */
static int take_run(struct options *o, const char *value)
{
	static const struct {
		char letter;
		const char *option;
	} parts[] = { { 'I', NULL }, { 'R', "--recipient" }, { 'S', "--sender" } };
	o->mode = MODE_RUN;
	o->run_option = "--all";
	o->run_value = NULL;
	for (size_t i = 0; value && i < sizeof parts / sizeof *parts; i++)
		if (value[0] == parts[i].letter && value[1]) {
			o->run_option = parts[i].option ? parts[i].option : value + 1;
			o->run_value = parts[i].option ? value + 1 : NULL;
			return 0;
		}
	return value ? sendmail_fail(SENDMAIL_USAGE, "-q%s: porterd runs the queue by itself; -q runs it now, -qI ID, -qR TEXT and -qS TEXT a part of it", value) : 0;
}

static int read_options(struct options *o, int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	int letter, code = 0;
	name = name ? name + 1 : argv[0];
	o->mode = strcmp(name, "mailq") == 0 ? MODE_QUEUE : strcmp(name, "newaliases") == 0 ? MODE_ALIASES : MODE_SEND;
	opterr = 0;
	while (!code && (letter = getopt(argc, argv, "A:B:b:C:d::e:F:f:Gh:iL:mN:no:O:p:q::R:r:tUV:vX:")) != -1) {
		if (letter != 'q')
			code = take_option(o, letter, optarg);
		else if (o->mode == MODE_SEND)
			code = take_run(o, optarg);
	}
	o->recipients = argv + optind;
	o->recipient_count = argc - optind;
	return code;
}

/* -- settings ------------------------------------------------------------------------------------------------------------------------------- */

/* porter.conf, as far as this user may read it; else the defaults. */
static int read_settings(const char *directory, struct arena *mem)
{
	struct setting_table *const tables[] = { &general_setting_table };
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct buf text = BUF_INIT(MAX_CONF);
	char absolute[PATH_MAX], path[PATH_MAX];
	int fd = -1;
	ssize_t n = 0;
	if (!realpath(directory, absolute))
		snprintf(absolute, sizeof absolute, "%s", directory);
	if (snprintf(path, sizeof path, "%s/porter.conf", absolute) < (int)sizeof path && file_open(AT_FDCWD, path, O_RDONLY, 0, &fd) == 0)
		for (char *room = buf_room(&text, 65536); room && (n = read(fd, room, 65536)) > 0; room = buf_room(&text, 65536))
			buf_used(&text, (size_t)n);
	file_close(&fd);
	struct slice conf = arena_copy(mem, buf_slice(&text));
	int error = setting_read_some(conf, SLICE("porter.conf"), arena_copy(mem, slice_of(absolute)), tables, 1, mem, &wrong);
	if (error)
		sendmail_fail(0, "%.*s", SLICE_FMT(buf_slice(&wrong.text)));
	buf_free(&text);
	complaint_free(&wrong);
	return error;
}

/* -- what others do ---------------------------------------------------------------------------------------------------------------------------- */

static int run_porterctl(const char *directory, const char *const *words)
{
	char self[PATH_MAX], program[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	snprintf(program, sizeof program, "%.*s/porterctl", slash ? (int)(slash - self) : 0, self);
	char *argv[10] = { program, (char *)(uintptr_t)"-c", (char *)(uintptr_t)directory };
	for (int i = 0; words[i] && i < 6; i++)
		argv[i + 3] = (char *)(uintptr_t)words[i];
	execv(program, argv);
	return sendmail_fail(SENDMAIL_SOFTWARE, "%s: %s", program, strerror(errno));
}

/* -- sending ----------------------------------------------------------------------------------------------------------------------------------- */

struct job {
	const struct options *options;
	struct arena mem;
	struct slice domain, user;
	struct drop envelope;
	struct buf raw, content;
};

static void find_names(struct job *j, struct sendmail_facts *f)
{
	const struct passwd *pw = getpwuid(getuid());
	char number[32];
	snprintf(number, sizeof number, "%u", (unsigned)getuid());
	j->domain = general_settings.local_domain.n ? general_settings.local_domain : general_settings.hostname;
	j->user = arena_copy(&j->mem, slice_of(pw ? pw->pw_name : number));
	f->host = general_settings.hostname;
	f->full_name = j->options->full_name ? slice_of(j->options->full_name) : SLICE("");
	if (pw && !j->options->full_name) {
		struct slice gecos = slice_of(pw->pw_gecos ? pw->pw_gecos : "");
		f->full_name = arena_copy(&j->mem, slice_head(gecos, slice_find(gecos, ',')));
	}
}

static int find_sender(struct job *j, struct sendmail_facts *f)
{
	struct slice own = sendmail_address(j->user, j->domain, &j->mem);
	const char *given = j->options->sender;
	f->author = own.p ? own : SLICE("");
	if (given && (!*given || strcmp(given, "<>") == 0)) {
		j->envelope.reverse_path = SLICE("");
	} else {
		j->envelope.reverse_path = given ? sendmail_address(slice_of(given), j->domain, &j->mem) : own;
		if (!j->envelope.reverse_path.p)
			return sendmail_fail(SENDMAIL_USAGE, "-f %s: this is no address", given ? given : "");
		f->author = j->envelope.reverse_path;
	}
	f->sender = j->envelope.reverse_path;
	return 0;
}

static bool is_listed(const struct drop *d, struct slice address)
{
	for (size_t i = 0; i < d->recipient_count; i++)
		if (slice_eq(d->recipients[i].address, address))
			return true;
	return false;
}

static int add_recipient(struct job *j, struct slice address)
{
	struct drop *d = &j->envelope;
	if (is_listed(d, address))
		return 0;
	if (d->recipient_count == SENDMAIL_MAX_RECIPIENTS)
		return sendmail_fail(SENDMAIL_USAGE, "more than %d recipients", SENDMAIL_MAX_RECIPIENTS);
	d->recipients[d->recipient_count++] = (struct drop_recipient){ address, j->options->notify };
	d->utf8 = d->utf8 || !slice_is_ascii(address);
	return 0;
}

static int find_recipients(struct job *j)
{
	const struct options *o = j->options;
	struct slice *listed = ARENA_ARRAY(&j->mem, struct slice, SENDMAIL_MAX_RECIPIENTS), field = SLICE("");
	size_t count = 0;
	int code = 0;
	j->envelope.recipients = ARENA_ARRAY(&j->mem, struct drop_recipient, SENDMAIL_MAX_RECIPIENTS);
	for (int i = 0; i < o->recipient_count && !code; i++)
		if (sendmail_addresses(slice_of(o->recipients[i]), j->domain, &j->mem, listed, &count))
			code = sendmail_fail(SENDMAIL_USAGE, "%s: this is no address", o->recipients[i]);
	int error = o->by_header && !code ? sendmail_header_recipients(buf_slice(&j->raw), j->domain, &j->mem, listed, &count, &field) : 0;
	if (error)
		return sendmail_fail(SENDMAIL_DATA, "the field %.*s: %s", SLICE_FMT(field), error == -E2BIG ? "too many addresses" : "these are no addresses");
	for (size_t i = 0; i < count && !code; i++)
		code = add_recipient(j, listed[i]);
	if (!code && !j->envelope.recipient_count)
		code = sendmail_fail(SENDMAIL_USAGE, "who is it for? Name recipients, or say -t and have them in To, Cc or Bcc");
	return code;
}

static int send_message(struct job *j)
{
	struct sendmail_facts facts = { .sender = SLICE_NONE };
	find_names(j, &facts);
	int code = find_sender(j, &facts);
	if (code)
		return code;
	int error = j->options->mode == MODE_VERIFY ? 0 : sendmail_read(stdin, !j->options->dot_is_content, &j->raw);
	if (error)
		return sendmail_fail(error == -EFBIG ? SENDMAIL_DATA : SENDMAIL_IO, "standard input: %s", strerror(-error));
	code = find_recipients(j);
	if (code)
		return code;
	j->envelope.utf8 = j->envelope.utf8 || !slice_is_ascii(j->envelope.reverse_path);
	j->envelope.envelope_id = j->options->envelope_id.n ? j->options->envelope_id : SLICE("");
	j->envelope.return_full = j->options->return_full;
	j->envelope.return_headers = j->options->return_headers;
	if (j->options->mode == MODE_VERIFY)
		return sendmail_verify(&j->envelope);
	if (sendmail_complete(buf_slice(&j->raw), &facts, &j->content))
		return sendmail_fail(SENDMAIL_DATA, "the message is too large");
	return sendmail_send(&j->envelope, buf_slice(&j->content), j->options->verbose);
}

int main(int argc, char **argv)
{
	static const char *const list[] = { "queue", "list", NULL }, *const compile[] = { "compile", NULL };
	struct options o = { .directory = "/etc/porter" };
	struct job j = { .options = &o, .mem = ARENA_INIT(0), .raw = BUF_INIT(SENDMAIL_MAX_CONTENT), .content = BUF_INIT(SENDMAIL_MAX_CONTENT + 65536) };
	signal(SIGPIPE, SIG_IGN);
	int code = read_options(&o, argc, argv);
	if (code)
		return code;
	if (read_settings(o.directory, &j.mem))
		return SENDMAIL_CONFIG;
	switch (o.mode) {
	case MODE_SPEAK:
		return sendmail_speak();
	case MODE_QUEUE:
		return run_porterctl(o.directory, list);
	case MODE_RUN:
		return run_porterctl(o.directory, (const char *const[]){ "queue", "retry", o.run_option, o.run_value, NULL });
	case MODE_ALIASES:
		return run_porterctl(o.directory, compile);
	case MODE_SEND:
	case MODE_VERIFY:
		break;
	}
	code = send_message(&j);
	buf_free(&j.raw);
	buf_free(&j.content);
	arena_free(&j.mem);
	return code;
}
