/* What porterctl's commands share. */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/field.h"
#include "base/general_settings.h"
#include "base/house.h"
#include "base/ipc.h"
#include "base/net.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/settings_all.h"

enum { MAX_CONF = 1 << 20, ANSWER_MS = 60000, BAR = 30 };

int ctl_fail(int code, const char *format, ...)
{
	va_list args;
	fputs("porterctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

void ctl_complain(const struct complaints *wrong)
{
	if (wrong->text.n)
		fwrite(wrong->text.p, 1, wrong->text.n, stderr);
	if (wrong->count > 50)
		fprintf(stderr, "... and %zu more\n", wrong->count - 50);
}

void ctl_print(struct slice text)
{
	if (text.n)
		fwrite(text.p, 1, text.n, stdout);
}

bool ctl_is_domain(struct slice name, size_t most)
{
	if (name.n > most)
		return false;
	while (name.p) {
		struct slice label = slice_cut(name, '.', &name);
		for (size_t i = 0; i < label.n; i++)
			if (!text_is_alnum((unsigned char)label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
				return false;
		if (!label.n || label.n > 63)
			return false;
	}
	return true;
}

struct slice ctl_resolver(struct ctl *c, struct slice text)
{
	struct net_address a;
	const char *why;
	struct buf b = BUF_INIT(128), word = BUF_INIT(128);
	size_t at = slice_find(text, '@');
	bool bare = at < text.n && slice_find(text, ':') < at; /* an IPv6 address without brackets */
	buf_addf(&word, at == text.n ? "%.*s" : bare ? "[%.*s]:" : "%.*s:", SLICE_FMT(slice_head(text, at)));
	buf_add(&word, slice_skip(text, at + 1));
	bool good = net_address_parse(buf_slice(&word), 53, &a, &why) && a.sa.any.sa_family != AF_UNIX;
	struct net_ip ip = good ? net_ip_of(&a) : (struct net_ip){ .is_v4 = true };
	net_ip_print(&b, &ip);
	buf_addf(&b, "@%u", good ? net_address_port(&a) : 0);
	struct slice copy = good ? arena_copy(&c->mem, buf_slice(&b)) : SLICE_NONE;
	buf_free(&word);
	buf_free(&b);
	return copy;
}

int ctl_read_open(int fd, size_t max, struct buf *out)
{
	int error = 0;
	buf_init(out, max + 1);
	for (;;) {
		char *room = buf_room(out, 1);
		size_t space = out->cap - out->n;
		if (!room) {
			error = -EFBIG;
			break;
		}
		if (space < 65536 && out->max - out->n >= 65536)
			room = buf_room(out, 65536), space = out->cap - out->n;
		ssize_t n = read(fd, room, space);
		if (n < 0)
			error = -errno;
		if (n <= 0)
			break;
		buf_used(out, (size_t)n);
	}
	return !error && out->n > max ? -EFBIG : error;
}

int ctl_read_file(const char *path, size_t max, struct buf *out)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int error = ctl_read_open(fd, max, out);
	close(fd);
	return error;
}

int ctl_settings_told(struct ctl *c, struct complaints *wrong)
{
	char path[4200];
	struct buf text;
	snprintf(path, sizeof path, "%s/porter.conf", c->directory);
	int error = ctl_read_file(path, MAX_CONF, &text);
	if (error) {
		ctl_fail(0, "%s: %s (name the configuration's directory with -c DIR)", path, strerror(-error));
		return -ENOENT;
	}
	c->conf = arena_copy(&c->mem, buf_slice(&text));
	buf_free(&text);
	return setting_read(c->conf, SLICE("porter.conf"), slice_of(c->directory), settings_all, settings_all_count, &c->mem, wrong);
}

bool ctl_settings(struct ctl *c)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	int error = ctl_settings_told(c, &wrong);
	ctl_complain(&wrong);
	complaint_free(&wrong);
	return !error;
}

bool ctl_settings_to_ask(struct ctl *c)
{
	struct complaints wrong = { BUF_INIT(1 << 20), 0 };
	int error = ctl_settings_told(c, &wrong);
	complaint_free(&wrong);
	return error != -ENOENT;
}

/* Options ---------------------------------------------------------------------------------------------------------------------------- */

static void take_out(int *argc, char **argv, int at, int count)
{
	for (int i = at; i + count < *argc; i++)
		argv[i] = argv[i + count];
	*argc -= count;
	argv[*argc] = NULL;
}

bool ctl_flag(int *argc, char **argv, const char *name)
{
	for (int i = 0; i < *argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], name) == 0) {
			take_out(argc, argv, i, 1);
			return true;
		}
	return false;
}

const char *ctl_value(int *argc, char **argv, const char *name)
{
	size_t n = strlen(name);
	for (int i = 0; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		if (strncmp(argv[i], name, n) != 0 || (argv[i][n] != '\0' && argv[i][n] != '='))
			continue;
		if (argv[i][n] == '=') {
			const char *value = argv[i] + n + 1;
			take_out(argc, argv, i, 1);
			return value;
		}
		if (i + 1 >= *argc)
			exit(ctl_fail(CTL_USAGE, "%s wants a value", name));
		const char *value = argv[i + 1];
		take_out(argc, argv, i, 2);
		return value;
	}
	return NULL;
}

const char *ctl_unknown_option(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (argv[i][0] == '-' && argv[i][1] != '\0')
			return argv[i];
	return NULL;
}

/* The running house ------------------------------------------------------------------------------------------------------------------ */

static int connect_control(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct slice dir = general_settings.run_directory;
	if (dir.n + sizeof "/control" > sizeof un.sun_path)
		return -ENAMETOOLONG;
	snprintf(un.sun_path, sizeof un.sun_path, "%.*s/control", SLICE_FMT(dir));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&un, sizeof un) < 0) {
		int error = errno == ENOENT ? ECONNREFUSED : errno;
		close(fd);
		return -error;
	}
	return fd;
}

static int read_answer(struct slice payload, struct buf *reply)
{
	uint8_t tag;
	struct slice value;
	uint64_t code = 2;
	while (field_next(&payload, &tag, &value)) {
		if (tag == HOUSE_TAG_NUMBER && !field_uint(value, 255, &code))
			return -EPROTO;
		if (tag == HOUSE_TAG_TEXT)
			buf_add(reply, value);
	}
	return payload.n ? -EPROTO : (int)code;
}

int ctl_ask(struct ctl *c, const char *who, const char *const *words, size_t count, struct buf *reply)
{
	(void)c;
	int fd = connect_control();
	if (fd < 0)
		return fd;
	struct buf payload = BUF_INIT(IPC_MAX_PAYLOAD), in = BUF_INIT(IPC_MAX_PAYLOAD + 64);
	struct ipc_message m;
	field_add(&payload, HOUSE_TAG_ROLE, slice_of(who));
	for (size_t i = 0; i < count; i++)
		field_add(&payload, HOUSE_TAG_WORD, slice_of(words[i]));
	int result = buf_full(&payload) ? -EMSGSIZE : ipc_send_blocking(fd, HOUSE_CTL, 1, buf_slice(&payload), -1);
	if (result == 0)
		result = ipc_receive_blocking(fd, ANSWER_MS, &m, &in);
	if (result == 0)
		result = m.type == HOUSE_CTL_REPLY ? read_answer(m.payload, reply) : -EPROTO;
	buf_free(&payload);
	buf_free(&in);
	close(fd);
	return result;
}

int ctl_ask_and_print(struct ctl *c, const char *who, const char *const *words, size_t count)
{
	struct buf reply = BUF_INIT(IPC_MAX_PAYLOAD);
	int code = ctl_ask(c, who, words, count, &reply);
	if (code == -ECONNREFUSED)
		code = ctl_fail(CTL_UNAVAILABLE, "nothing runs here (%.*s/control does not answer); start it with: porterd -c %s",
		                SLICE_FMT(general_settings.run_directory), c->directory);
	else if (code < 0)
		code = ctl_fail(CTL_TEMPFAIL, "the running porterd did not answer: %s", strerror(-code));
	ctl_print(buf_slice(&reply));
	if (reply.n && reply.p[reply.n - 1] != '\n')
		putchar('\n');
	buf_free(&reply);
	return code;
}

/* People ------------------------------------------------------------------------------------------------------------------------------ */

void ctl_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	const struct ctl *c = arg;
	if (!c->terminal || !total)
		return;
	int filled = (int)(done * BAR / total);
	fprintf(stderr, "\r%-10s %3u %% [%.*s%*s]", what, (unsigned)(done * 100 / total), filled, "##############################", BAR - filled, "");
	if (done >= total)
		fputs("\r\033[K", stderr);
	fflush(stderr);
}

bool ctl_confirm(struct ctl *c, const char *question)
{
	char answer[16] = "";
	if (c->yes)
		return true;
	if (!c->terminal || !isatty(STDIN_FILENO))
		return false;
	fprintf(stderr, "%s [y/N] ", question);
	return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}
