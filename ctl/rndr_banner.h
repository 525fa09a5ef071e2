#ifndef CTL_RNDR_BANNER_H
#define CTL_RNDR_BANNER_H
#include "base/loop.h"
#include "base/net.h"
#include "base/slice.h"

/* Reads what a mail server greets with, says QUIT and nothing else. Used by ctl/rndr_consent.c: who can put a token into a server's banner may have it tested. */
enum { BANNER_MAX = 2048, BANNER_MS = 30000 };

/* done is called once, from the loop: words is the greeting up to the end of its last line, or "" when none of SMTP came in time; borrowed for the call. */
struct banner;
struct banner *banner_read(struct loop *l, const struct net_address *server, void (*done)(void *arg, struct slice words), void *arg);
void banner_free(struct banner *b); /* no callback any more; NULL is fine; allowed inside done */
#endif
