/* The demo beyond its MX. */
#include "ctl/demo_more.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/net.h"
#include "base/tls.h"
#include "ctl/web_settings.h"
#include "maps/password.h"
#include "smtpd/smtpd_settings.h"

void demo_add_conf(struct buf *conf, unsigned submission, unsigned submissions, unsigned http)
{
	buf_addf(conf, "listen-submission    127.0.0.1:%u\nlisten-submissions   127.0.0.1:%u\n", submission, submissions);
	buf_addf(conf, "listen-http          127.0.0.1:%u\nlisten-rndr-catch    127.0.0.1:%u\nrndr-directory       ../rndr\nrndr-probe-domain    [127.0.0.1]\nrndr-page-url        http://127.0.0.1:%u\n", http, http + 1, http);
}

static int write_new(const char *path, mode_t mode, struct slice text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	int error = write(fd, text.p, text.n) == (ssize_t)text.n ? 0 : -EIO;
	close(fd);
	return error;
}

static int make_certificate(const char *dir)
{
	char cert[PATH_MAX], key[PATH_MAX];
	struct buf cert_pem = BUF_INIT(64 << 10), key_pem = BUF_INIT(64 << 10);
	snprintf(cert, sizeof cert, "%s/etc/tls/cert.pem", dir);
	snprintf(key, sizeof key, "%s/etc/tls/key.pem", dir);
	int error = access(cert, F_OK) == 0 || access(key, F_OK) == 0 ? -EEXIST : tls_make_self_signed(SLICE("mx.example.test"), 3650, &cert_pem, &key_pem);
	error = error ? error : write_new(key, 0600, buf_slice(&key_pem));
	error = error ? error : write_new(cert, 0644, buf_slice(&cert_pem));
	if (key_pem.p)
		mem_wipe(key_pem.p, key_pem.cap);
	buf_free(&cert_pem);
	buf_free(&key_pem);
	return error == -EEXIST ? 0 : error;
}

/* Any line that is no comment. */
static bool has_entries(int fd)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof text, 0);
	for (struct slice rest = slice(text, n > 0 ? (size_t)n : 0); rest.n;) {
		struct slice line = slice_trim(slice_cut(rest, '\n', &rest));
		if (line.n && line.p[0] != '#')
			return true;
	}
	return false;
}

/* Alice's and bob's logins, where nobody has any yet. */
static int make_logins(const char *dir)
{
	static const char *const logins[] = { "alice@example.test", "bob@example.test" };
	char path[PATH_MAX];
	struct buf text = BUF_INIT(8192);
	const char *why;
	int error = 0;
	snprintf(path, sizeof path, "%s/etc/credentials", dir);
	int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (has_entries(fd)) {
		close(fd);
		return 0;
	}
	for (size_t i = 0; !error && i < sizeof logins / sizeof *logins; i++) {
		buf_addf(&text, "%s    ", logins[i]);
		error = password_make(SLICE("porter-demo"), &text, &why);
		buf_add_byte(&text, '\n');
	}
	if (!error && write(fd, text.p, text.n) != (ssize_t)text.n)
		error = -EIO;
	close(fd);
	buf_free(&text);
	return error;
}

int demo_add_files(const char *dir)
{
	int error = make_certificate(dir);
	return error ? error : make_logins(dir);
}
