/* Handing in. */
#include "ctl/sendmail_send.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/general_settings.h"
#include "base/unique.h"
#include "ctl/talk.h"
#include "queue/envelope.h"

enum { MAX_PARAMETERS = 1500, SPEAK_BYTES = 16384 };

int sendmail_fail(int code, const char *format, ...)
{
	va_list args;
	fputs("sendmail: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

/* -- the drop folder ------------------------------------------------------------------------------------------------------------------------ */

static int write_drop(int dir, const char *name, struct slice head, struct slice content)
{
	char temporary[UNIQUE_LENGTH + 8];
	int fd, error;
	snprintf(temporary, sizeof temporary, "tmp.%s", name);
	error = file_open(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, &fd);
	if (error)
		return error;
	error = fchmod(fd, 0644) < 0 ? -errno : 0; /* whatever the caller's umask: the queue is another user */
	error = error ? error : file_write(fd, head);
	error = error ? error : file_write(fd, content);
	error = error ? error : file_sync(fd);
	file_close(&fd);
	error = error ? error : file_rename(dir, temporary, dir, name);
	if (error)
		file_unlink(dir, temporary);
	return error;
}

/* The folder can't be read by whoever adds to it (nobody may list it), so it is made durable with its file system. */
static int sync_folder(const char *path, const char *name)
{
	char file[4200];
	int fd, error;
	snprintf(file, sizeof file, "%s/%s", path, name);
	error = file_open(AT_FDCWD, file, O_RDONLY | O_NOFOLLOW, 0, &fd);
	if (error == -ENOENT)
		return 0; /* the queue has it already */
	error = error ? error : file_sync_store(fd);
	file_close(&fd);
	return error;
}

static int put_in_drop(const struct drop *d, struct slice content)
{
	struct unique name = unique_new();
	struct buf head = BUF_INIT(DROP_MAX_HEAD);
	char path[4096];
	int dir = -1, error = drop_put(&head, d);
	snprintf(path, sizeof path, "%.*s/drop", SLICE_FMT(general_settings.spool_directory));
	error = error ? error : file_open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, &dir);
	error = error ? error : write_drop(dir, name.text, buf_slice(&head), content);
	error = error ? error : sync_folder(path, name.text);
	file_close(&dir);
	buf_free(&head);
	return error;
}

static int later(const struct drop *d, struct slice content, const char *why, struct slice said)
{
	int error = put_in_drop(d, content);
	if (error)
		return sendmail_fail(SENDMAIL_LATER, "not sent, try again later: %s %.*s, and %.*s/drop can't be written: %s", why, SLICE_FMT(said),
		                     SLICE_FMT(general_settings.spool_directory), strerror(-error));
	return 0;
}

/* -- the dialogue ---------------------------------------------------------------------------------------------------------------------------- */

static int open_submit(struct talk *t, bool shown)
{
	struct net_address to = { .sa.un.sun_family = AF_UNIX, .length = sizeof to.sa.un };
	struct slice dir = general_settings.run_directory;
	t->fd = -1;
	if (dir.n + sizeof "/submit" > sizeof to.sa.un.sun_path)
		return -ENAMETOOLONG;
	snprintf(to.sa.un.sun_path, sizeof to.sa.un.sun_path, "%.*s/submit", SLICE_FMT(dir));
	int error = talk_open(t, &to, shown);
	if (!error && t->code == 220)
		error = talk_ask(t, "EHLO localhost");
	return error ? error : t->code == 250 ? 0 : -EAGAIN;
}

static bool is_ascii(const struct drop *d)
{
	for (size_t i = 0; i < d->recipient_count; i++)
		if (!slice_is_ascii(d->recipients[i].address))
			return false;
	return slice_is_ascii(d->reverse_path);
}

static void add_xtext(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c > ' ' && c < 0x7f && c != '+' && c != '=')
			buf_add_byte(out, (char)c);
		else
			buf_addf(out, "+%02X", c);
	}
}

static int say_mail(struct talk *t, const struct drop *d, size_t size)
{
	struct buf p = BUF_INIT(MAX_PARAMETERS);
	buf_addf(&p, " SIZE=%zu BODY=8BITMIME", size);
	buf_add_cstr(&p, d->utf8 || !is_ascii(d) ? " SMTPUTF8" : "");
	buf_add_cstr(&p, d->return_full ? " RET=FULL" : d->return_headers ? " RET=HDRS" : "");
	if (d->envelope_id.n) {
		buf_add_cstr(&p, " ENVID=");
		add_xtext(&p, d->envelope_id);
	}
	int error = buf_full(&p) ? -EINVAL : talk_ask(t, "MAIL FROM:<%.*s>%.*s", SLICE_FMT(d->reverse_path), SLICE_FMT(buf_slice(&p)));
	buf_free(&p);
	return error;
}

static int say_rcpt(struct talk *t, const struct drop_recipient *r)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} words[] = { { NOTIFY_NEVER, "NEVER" }, { NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" } };
	char notify[64] = "";
	size_t n = 0;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (r->notify & words[i].bit)
			n += (size_t)snprintf(notify + n, sizeof notify - n, "%s%s", n ? "," : " NOTIFY=", words[i].word);
	return talk_ask(t, "RCPT TO:<%.*s>%s", SLICE_FMT(r->address), notify);
}

static int refused(const struct talk *t, struct slice what)
{
	const struct mail_status *s = &t->status;
	int code = s->fate == MAIL_LATER ? SENDMAIL_LATER : s->enhanced[0] == 1 ? SENDMAIL_NO_USER : s->enhanced[0] == 7 ? SENDMAIL_NO_PERMISSION : SENDMAIL_UNAVAILABLE;
	return sendmail_fail(code, "not sent: %.*s: %u %.*s", SLICE_FMT(what), t->code, SLICE_FMT(s->text));
}

/* Who wants another transaction (rule.md: one next hop in each). */
static bool wants_another(const struct talk *t)
{
	return t->code == 452 && t->status.enhanced[0] == 5 && t->status.enhanced[1] == 3;
}

/* The user has handed in too much (user-messages-hour and its like): the drop folder would be a way around that. */
static bool is_over_limit(const struct talk *t)
{
	return t->status.fate == MAIL_LATER && t->status.enhanced[0] == 7 && t->status.enhanced[1] == 1;
}

enum { DONE = -1, LATER = -2 };

/* RCPT for all: who waits for another transaction, or for better times, is in left. DONE, LATER, or an exit code. */
static int say_recipients(struct talk *t, const struct drop *d, struct drop_recipient *left, size_t *count, bool *waits)
{
	for (size_t i = 0; i < d->recipient_count; i++) {
		if (say_rcpt(t, &d->recipients[i]))
			return LATER;
		if (t->status.fate == MAIL_NEVER || is_over_limit(t))
			return refused(t, d->recipients[i].address);
		if (t->status.fate == MAIL_LATER) {
			*waits = *waits || !wants_another(t);
			left[(*count)++] = d->recipients[i];
		}
	}
	return *count < d->recipient_count ? DONE : LATER;
}

/* One transaction for as many of *rest as it takes; on DONE they have left it. */
static int one_transaction(struct talk *t, struct drop *rest, struct drop_recipient *left, struct slice content)
{
	size_t count = 0;
	bool waits = false;
	if (say_mail(t, rest, content.n))
		return LATER;
	if (t->status.fate == MAIL_LATER && !is_over_limit(t))
		return LATER;
	if (t->status.fate != MAIL_OK)
		return refused(t, rest->reverse_path);
	int result = say_recipients(t, rest, left, &count, &waits);
	if (result != DONE)
		return result;
	if (talk_ask(t, "DATA"))
		return LATER;
	if (t->code == 354 && talk_content(t, content))
		return LATER;               /* whether it was taken nobody knows: twice is better than never */
	if (t->status.fate != MAIL_OK || t->code == 354)
		return t->status.fate == MAIL_LATER && !is_over_limit(t) ? LATER : refused(t, SLICE("the message"));
	memcpy(rest->recipients, left, count * sizeof *left);
	rest->recipient_count = count;
	return waits ? LATER : DONE;
}

int sendmail_send(const struct drop *d, struct slice content, bool verbose)
{
	struct arena mem = ARENA_INIT(0);
	struct talk t;
	struct drop rest = *d;
	size_t bytes = d->recipient_count * sizeof *d->recipients;
	struct drop_recipient *left = arena_new(&mem, bytes);
	rest.recipients = arena_new(&mem, bytes);
	memcpy(rest.recipients, d->recipients, bytes);
	int result = open_submit(&t, verbose) ? LATER : DONE;
	while (rest.recipient_count && result == DONE)
		result = one_transaction(&t, &rest, left, content);
	if (result == LATER)
		result = later(&rest, content, t.fd < 0 ? "nobody serves" : t.code ? "the server says" : t.why, t.fd >= 0 && t.code ? t.status.text : SLICE(""));
	else if (result == DONE)
		talk_ask(&t, "QUIT");
	if (t.fd >= 0)
		talk_close(&t);
	arena_free(&mem);
	return result == DONE ? 0 : result;
}

int sendmail_verify(const struct drop *d)
{
	struct talk t;
	int code = open_submit(&t, false) || say_mail(&t, d, 0) ? sendmail_fail(SENDMAIL_LATER, "nobody serves, or not now; start it with porterd, or try again later") : 0;
	for (size_t i = 0; i < d->recipient_count && (!code || code == SENDMAIL_NO_USER); i++) {
		struct slice address = d->recipients[i].address;
		if (t.status.fate == MAIL_OK && say_rcpt(&t, &d->recipients[i]))
			code = sendmail_fail(SENDMAIL_LATER, "%s", t.why);
		else if (t.status.fate == MAIL_OK)
			printf("%.*s ... deliverable\n", SLICE_FMT(address));
		else
			printf("%.*s ... %u %.*s\n", SLICE_FMT(address), t.code, SLICE_FMT(t.status.text));
		if (!code && t.status.fate != MAIL_OK)
			code = t.status.fate == MAIL_NEVER ? SENDMAIL_NO_USER : SENDMAIL_LATER;
		t.status.fate = MAIL_OK;
	}
	if (t.fd >= 0)
		talk_close(&t);
	return code;
}

/* -- joined ------------------------------------------------------------------------------------------------------------------------------------ */

/* False: from is at its end. */
static bool pass_on(int from, int to)
{
	char bytes[SPEAK_BYTES];
	ssize_t n = read(from, bytes, sizeof bytes);
	return n > 0 && file_write(to, slice(bytes, (size_t)n)) == 0;
}

int sendmail_speak(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int n = snprintf(un.sun_path, sizeof un.sun_path, "%.*s/submit", SLICE_FMT(general_settings.run_directory));
	int fd = n < (int)sizeof un.sun_path ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
		puts("421 4.3.2 Nobody serves here just now, try again later\r");
		return SENDMAIL_LATER;
	}
	struct pollfd at[] = { { STDIN_FILENO, POLLIN, 0 }, { fd, POLLIN, 0 } };
	for (bool open = true; open && poll(at, 2, -1) >= 0;) {
		if (at[0].revents && !pass_on(STDIN_FILENO, fd)) {
			shutdown(fd, SHUT_WR);
			at[0].fd = -1;
		}
		if (at[1].revents)
			open = pass_on(fd, STDOUT_FILENO);
	}
	close(fd);
	return 0;
}
