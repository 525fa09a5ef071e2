#ifndef SMTPD_HARVEST_H
#define SMTPD_HARVEST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/net.h"
#include "base/slice.h"

/* Both horns (rule.md, "harvesting"): refusing unknown recipients at RCPT tells a stranger which addresses exist, so unknown
 * recipients draw on a budget with decay. Past it the client is slowed, then blind (every RCPT 250, the dot 451), then refused for a while.
 * A sender with a proven domain (SPF or DKIM pass) has its own budget; everyone else is counted by address and by network (/24, /48).
 * A network with a history of good recipients (of messages that were delivered, proven or not) is slowed, never blinded: a big provider's real user shares its addresses with a spammer.
 *
 * The same table holds token buckets for rates. It is a piece of memory of fixed size that all smtpd processes share; each of its
 * sets has a lock (base/shared). When a set is full the entry goes that is worth least by now. */

enum harvest_level {
	HARVEST_OPEN,
	HARVEST_SLOW,     /* answers to RCPT wait harvest_delay_ms */
	HARVEST_BLIND,    /* every RCPT 250 in constant time, the dot 451 4.7.1 */
	HARVEST_REFUSE    /* 421 to the connection */
};

struct harvest_limits {
	uint64_t slow, blind, refuse; /* unknown recipients, after decay, of one address or domain; a network has four times as many */
	uint64_t half_life_s;         /* after this time half of the count is forgotten */
	uint64_t refuse_s;            /* how long a refusal lasts at least */
	uint64_t good_history;        /* good recipients, after decay, that make a network one that is never blinded */
};

struct harvest_who {
	struct net_ip ip;
	struct slice domain;          /* proven by SPF or DKIM, lower case; "" none */
	bool exempt;                  /* loopback, listed, authenticated: always HARVEST_OPEN, nothing is counted */
};

struct harvest;

/* Bytes that harvest_attach wants for about `entries` entries. */
size_t harvest_size(size_t entries);

/* A view of shared memory that is zeroed when new. Keys of the hash are made by the first who attaches. memory outlives the view. NULL: it is of another form. */
struct harvest *harvest_attach(void *memory, size_t size, const struct harvest_limits *limits);
void harvest_detach(struct harvest *h);

enum harvest_level harvest_level(struct harvest *h, const struct harvest_who *who, int64_t now_s);

/* An unknown recipient was named, or a good one has its message; what the level is now. */
enum harvest_level harvest_unknown(struct harvest *h, const struct harvest_who *who, int64_t now_s);
void harvest_good(struct harvest *h, const struct harvest_who *who, int64_t now_s);

/* A recipient was named to a blind client, of whom nobody knows any more whether it exists: four of them draw as one, so that who goes on is refused in the end,
 * and who has stopped guessing sees again, though it sends its mail once more meanwhile. */
enum harvest_level harvest_blind(struct harvest *h, const struct harvest_who *who, int64_t now_s);

/* How long an answer waits on HARVEST_SLOW: grows with the count, 500..10,000 ms. */
uint64_t harvest_delay_ms(struct harvest *h, const struct harvest_who *who, int64_t now_s);

/* A token bucket: true if one of `burst` tokens was there; they come back at per_hour an hour. kind names the limit. */
enum harvest_rate { HARVEST_RATE_CLIENT = 1, HARVEST_RATE_NETWORK, HARVEST_RATE_REVERSE_PATH, HARVEST_RATE_RECIPIENT };
bool harvest_take(struct harvest *h, enum harvest_rate kind, struct slice key, uint64_t per_hour, uint64_t burst, int64_t now_ms);

/* For porterctl: each entry with a count, most first, at most `max` of them; returns how many. */
struct harvest_entry {
	char name[64];                /* "192.0.2.1", "192.0.2.0/24", "domain example.org" */
	uint64_t unknown, good;
	enum harvest_level level;
	uint64_t refused_for_s;
};
size_t harvest_list(struct harvest *h, struct harvest_entry *out, size_t max, int64_t now_s);

/* Forgets an address, its network, or a domain. True if there was something to forget. */
bool harvest_forgive(struct harvest *h, const struct harvest_who *who);

struct slice harvest_level_name(enum harvest_level level);
#endif
