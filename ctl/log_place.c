/* Where events go: the standard error that porterd was started with, a file, or syslog. Whichever it is, it is put in place of descriptor 2, which every child inherits: so
 * no child opens anything, and a syslog server that was restarted is connected to here for all of them (base/log_syslog). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/general_settings.h"
#include "base/log.h"
#include "base/log_syslog.h"
#include "ctl/parent.h"

enum { SYSLOG_LOOK_MS = 2000, MAX_SOCKET_NAME = 108 };

static bool is_syslog(void)
{
	return slice_starts(general_settings.log, SLICE("syslog"));
}

static const char *syslog_path(char path[MAX_SOCKET_NAME])
{
	struct slice named = slice_skip(general_settings.log, SLICE("syslog:").n);
	if (slice_eq(general_settings.log, SLICE("syslog")))
		return "/dev/log";
	snprintf(path, MAX_SOCKET_NAME, "%.*s", SLICE_FMT(named));
	return path;
}

static enum log_form form_of(const struct parent *p)
{
	bool json = p->json || slice_eq(general_settings.log_form, SLICE("json"));
	if (is_syslog())
		return json ? LOG_FORM_SYSLOG_JSON : LOG_FORM_SYSLOG;
	return json ? LOG_FORM_JSON : LOG_FORM_TEXT;
}

/* -- syslog ------------------------------------------------------------------------------------------------------------------------------ */

static void connect_syslog(struct parent *p, int fd)
{
	char path[MAX_SOCKET_NAME], text[300];
	int error = log_syslog_connect(fd, syslog_path(path));
	if (error && !p->syslog_away) {
		snprintf(text, sizeof text, "syslog: %s: %s; events are lost until a server listens there", syslog_path(path), strerror(-error));
		parent_alert(p, slice_of(text));
	}
	if (!error && p->syslog_away)
		log_event(LOG_WARN, "syslog-back", LOG_CSTR("socket", syslog_path(path)), LOG_END);
	p->syslog_away = error != 0;
}

/* A datagram socket doesn't tell that its server was restarted, and to connect again costs one system call. */
static void look_at_syslog(void *arg)
{
	struct parent *p = arg;
	if (!is_syslog())
		return;
	connect_syslog(p, STDERR_FILENO);
	loop_timer_set(p->syslog_look, SYSLOG_LOOK_MS);
}

/* -- opening ------------------------------------------------------------------------------------------------------------------------------- */

static int open_place(struct parent *p, int *out)
{
	int fd;
	if (is_syslog())
		return log_syslog_socket(out);
	if (slice_starts(general_settings.log, SLICE("/")))
		fd = open(arena_cstr(&p->mem, general_settings.log), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	else
		fd = fcntl(p->own_stderr, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*out = fd;
	return 0;
}

int log_place_open(struct parent *p, struct buf *told)
{
	enum log_level level;
	int fd, error = open_place(p, &fd);
	if (error) {
		buf_addf(told, "porter.conf: log %.*s: %s\n", SLICE_FMT(general_settings.log), strerror(-error));
		return error;
	}
	log_open(STDERR_FILENO, form_of(p), "parent");
	if (is_syslog())
		connect_syslog(p, fd);
	dup2(fd, STDERR_FILENO);
	close(fd);
	if (log_level_parse(general_settings.log_level, &level) && p->log_level < 0)
		log_set_level(level);
	if (is_syslog()) {
		p->syslog_look = p->syslog_look ? p->syslog_look : loop_timer_new(p->loop, look_at_syslog, p);
		loop_timer_set(p->syslog_look, SYSLOG_LOOK_MS);
	}
	return 0;
}

void log_place_say(const struct parent *p, const char *text)
{
	if (!slice_eq(general_settings.log, SLICE("stderr")))
		dprintf(p->own_stderr, "%s", text);
}
