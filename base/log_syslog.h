#ifndef BASE_LOG_SYSLOG_H
#define BASE_LOG_SYSLOG_H
#include "base/buf.h"

/* The socket of a syslog server, and what stands in front of each line there (RFC 3164, as syslog(3) writes it). Not syslog(3) itself: that connects again where a server
 * was restarted, which a process in a chroot and a system call filter can't do. So the parent opens one socket, all its children inherit it, and when the parent
 * connects it anew it is connected for all of them. <syslog.h> has macros of the names that our levels have, hence a file of its own. */
int log_syslog_socket(int *out);                  /* not connected yet; 0 or -errno */
int log_syslog_connect(int fd, const char *path); /* to whoever listens at path now; 0 or -errno, and then it is as before */
void log_syslog_begin(void);                      /* before a chroot: knows the time zone from now on */
void log_syslog_front(struct buf *line, unsigned level);
#endif
