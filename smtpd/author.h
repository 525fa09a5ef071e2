#ifndef SMTPD_AUTHOR_H
#define SMTPD_AUTHOR_H
#include "base/mail_status.h"
#include "maps/map.h"
#include "smtpd/check.h"

/* Whom a login may name as author (rule.md, evidence `auth`): every address in From is one that `senders` grants to it. The check `author` asks at the dot, on the submission
 * ports; a message without From, or one whose From has no domain ("From: root"), claims nobody's address. Reports (null reverse-path) are the gate's matter. */
extern const struct check_kind author_check;

/* The same without a session. head: the header section, CRLF. The refusal's text lives in mem. */
struct mail_status author_judge(struct map_set *maps, struct slice login, struct slice head, struct arena *mem);
#endif
