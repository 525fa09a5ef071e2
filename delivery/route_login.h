#ifndef DELIVERY_ROUTE_LOGIN_H
#define DELIVERY_ROUTE_LOGIN_H
#include "base/answer.h"
#include "base/loop.h"
#include "base/slice.h"

/* What we say to a next hop whose route names credentials=NAME: user and password of the line `NAME hop USER PASSWORD` in the map credentials, which the process
 * `login` alone reads. Asked anew for each attempt: nothing of it is kept here. */
enum { ROUTE_LOGIN_WAIT_MS = 10000, ROUTE_LOGIN_MAX_OPEN = 1000 };
struct route_logins;
struct route_logins *route_logins_new(struct loop *l);
void route_logins_free(struct route_logins *r); /* NULL is fine */
void route_logins_attach(struct route_logins *r, int fd); /* from on_peer with role "login": takes fd */

/* FOUND, ABSENT (no such line) or UNSURE (nobody answers). Called once, from the loop, never inside; views are valid during the call. */
struct route_login_query;
struct route_login_query *route_login_find(struct route_logins *r, struct slice name,
                                           void (*done)(void *arg, enum answer a, struct slice user, struct slice password), void *arg);
void route_login_cancel(struct route_login_query *q); /* NULL is fine */
#endif
