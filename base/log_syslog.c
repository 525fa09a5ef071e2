/* syslog(3), facility mail. */
#include "base/log_syslog.h"

#include <syslog.h>

void log_syslog_open(void)
{
	openlog("porter", LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void log_syslog_line(unsigned level, const char *line, int n)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	syslog(priorities[level], "%.*s", n, line);
}
