#ifndef DELIVERY_HTTPS_H
#define DELIVERY_HTTPS_H
#include <stdbool.h>
#include "base/buf.h"
#include "base/slice.h"

/* HTTPS for short-lived helpers: waits, checks the certificate by the host's name, follows no redirect, at most HTTPS_S seconds. libcurl stands behind
 * delivery/https.c, and is loaded when it is first used, since it brings twenty libraries that no other process needs. */
enum { HTTPS_S = 20 };
struct https {
	const char *connect_to;   /* "HOST:PORT" in place of the URL's own; "" */
	const char *roots;        /* a PEM file; "" the system's */
};

/* HTTPS_UNTRUSTED: its certificate proves nothing. */
enum https_end { HTTPS_GOOD, HTTPS_UNTRUSTED, HTTPS_FAILED };
/* A text/plain of status 200, at most out's ceiling. Else a line on standard error says why. */
enum https_end https_get_text(const struct https *h, const char *url, struct buf *out);
/* Status 2xx. */
bool https_post(const struct https *h, const char *url, const char *type, struct slice body);
#endif
