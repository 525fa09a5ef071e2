#ifndef SMTPD_LISTENER_H
#define SMTPD_LISTENER_H
#include "smtpd/facts.h"
#include "smtpd/smtpd.h"

/* A socket that clients come to. Whoever is one too many is told 421 and sent away before there is a session. */
struct listener;

/* Takes fd. name: "mx", "submission", "submissions". NULL: no such kind. */
struct listener *listener_new(struct smtpd *d, struct slice name, struct slice address, int fd);
void listener_free(struct listener *l);
enum listener_kind listener_kind(const struct listener *l);
struct slice listener_kind_name(enum listener_kind kind);

/* A session for a user of this system, whose connection fd is taken. */
void listener_take_local(struct smtpd *d, struct slice user, int fd);
#endif
