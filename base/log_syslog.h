#ifndef BASE_LOG_SYSLOG_H
#define BASE_LOG_SYSLOG_H
/* syslog(3) behind its own file, for base/log alone: <syslog.h> has macros of the names that our levels have. */
void log_syslog_open(void);
void log_syslog_line(unsigned level, const char *line, int n);
#endif
