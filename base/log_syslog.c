/* The socket of a syslog server; facility mail. */
#include "base/log_syslog.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { PATIENCE_US = 200000 };

int log_syslog_socket(int *out)
{
	/* A server that has stopped reading holds nobody up for long: its lines are lost. */
	struct timeval patience = { 0, PATIENCE_US };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	*out = fd;
	return 0;
}

int log_syslog_connect(int fd, const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	if (n >= sizeof to.sun_path)
		return -ENAMETOOLONG;
	memcpy(to.sun_path, path, n + 1);
	return connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? -errno : 0;
}

void log_syslog_begin(void)
{
	time_t now = 0;
	struct tm tm;
	localtime_r(&now, &tm);
}

void log_syslog_front(struct buf *line, unsigned level)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = (time_t)clock_wall_s();
	struct tm tm;
	localtime_r(&now, &tm);
	buf_addf(line, "<%d>%s %2d %02d:%02d:%02d porter[%d]: ", LOG_MAIL | priorities[level], months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
	         (int)getpid());
}
