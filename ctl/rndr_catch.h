#ifndef CTL_RNDR_CATCH_H
#define CTL_RNDR_CATCH_H
#include <stdbool.h>
#include <stdint.h>
#include "base/loop.h"
#include "base/slice.h"

/* The forged sender's MX: takes mail for marked addresses alone, counts it, looks for the canary in it, keeps nothing. It is itself a server on an open port,
 * so it is bounded everywhere: sessions, lines, recipients, bytes, time. */
enum { CATCH_MAX_SESSIONS = 64, CATCH_MAX_BYTES = 64 << 20, CATCH_SESSION_MS = 300000 };

struct catch_message {
	struct slice recipient;
	uint64_t bytes;
	bool body;                            /* the canary was in it */
};
struct catch_handler {
	bool (*knows)(void *arg, struct slice recipient);            /* at RCPT: 250 or 550 */
	void (*on_message)(void *arg, const struct catch_message *m); /* at the dot */
};

/* canary, at most 128 bytes, is searched for in the content. fd is a listening socket and becomes ours. */
struct rndr_catch;
struct rndr_catch *rndr_catch_new(struct loop *l, int fd, struct slice canary, const struct catch_handler *h, void *arg);
void rndr_catch_free(struct rndr_catch *c); /* NULL is fine */
#endif
