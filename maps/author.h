#ifndef MAPS_AUTHOR_H
#define MAPS_AUTHOR_H
#include "base/arena.h"
#include "base/mail_header.h"
#include "base/mail_status.h"
#include "base/net.h"
#include "base/slice.h"
#include "maps/map.h"

/* Whom somebody may name as author (rule.md, evidence `auth`): every address in From is one that `senders` grants to the login, or has a domain that `clients` grants to the
 * client. A message without From, or one whose From has no domain ("From: root"), claims nobody's address. smtpd refuses by it what logins hand in; what may not be written is
 * never signed with a key of ours, here and in the queue. */

/* Who hands a message in: a key of `senders` (a login, or unix:USER), or else a client. */
struct submitter {
	struct map_set *maps;
	struct slice login;          /* "": a client */
	const struct net_ip *ip;
	struct slice certificate;    /* SHA-256, lower-case hexadecimal; "" none */
};

/* MAIL_OK, or the refusal, whose text lives in mem; MAIL_LATER where a map can't tell. */
struct mail_status author_judge(const struct submitter *who, const struct mail_header *h, struct arena *mem);
#endif
