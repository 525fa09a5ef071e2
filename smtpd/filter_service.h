#ifndef SMTPD_FILTER_SERVICE_H
#define SMTPD_FILTER_SERVICE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/conn.h"
#include "base/net.h"
#include "base/slice.h"

/* A service beside us that has a say: a milter, a policy service. An item of the settings `milters` and `policy-services`:
 *
 *	rspamd=127.0.0.1:11332      a name for the log, an address
 *	unix:/run/av.sock           its name is its address
 *	quota=127.0.0.1:12340,at=rcpt,down=accept,timeout=10s
 *
 * down=defer (451) or accept: what happens while it can't be asked. at=connect|helo|mail|rcpt|data|dot: when a policy service is asked. */
enum filter_at { FILTER_AT_CONNECT, FILTER_AT_HELO, FILTER_AT_MAIL, FILTER_AT_RCPT, FILTER_AT_DATA, FILTER_AT_DOT };
enum { FILTER_MAX_SERVICES = 16 };

struct filter_service {
	struct slice name;
	struct net_address address;
	enum filter_at at;           /* policy services; rcpt where nothing is said */
	bool accept_when_down;
	uint64_t timeout_ms;
};

/* One item. preset has the values of what isn't said. NULL, or a fixed phrase that says what is wrong. Views into item. */
const char *filter_service_parse(struct slice item, const struct filter_service *preset, struct filter_service *out);

/* All items of a list, which was checked; returns how many. */
size_t filter_services_read(struct slice list, const struct filter_service *preset, struct filter_service *out, size_t max);

/* A way to a service: connected to by ourselves, or, to a Unix socket, which lies outside of our root folder, by the parent. done is called once, later:
 * conn, which is the callee's, or NULL and why. */
struct smtpd;
struct filter_dial;
struct filter_dial *filter_dial(struct smtpd *d, const struct filter_service *s, const struct conn_limits *limits, const struct conn_handler *h, void *arg,
                                void (*done)(void *arg, struct conn *c, const char *why));
void filter_dial_cancel(struct filter_dial *f); /* NULL is fine */
#endif
