#ifndef CTL_RNDR_PLAN_H
#define CTL_RNDR_PLAN_H
#include "base/arena.h"
#include "base/hash.h"
#include "ctl/rndr.h"
#include "ctl/rndr_probe.h"

/* The book of the attack: what is said for each way, and the marks by which a return is known. */
enum { RNDR_NONCE = 16, RNDR_FILL_MAX = 40 << 20 };

struct rndr_marks {
	struct hash_key key;           /* of this check alone, from the kernel's random numbers */
	char nonce[RNDR_NONCE + 1];    /* hexadecimal */
};

struct rndr_marks rndr_marks_new(void);

/* "rndr-WAY-NONCE-MAC", a local-part; MAC is a keyed hash over way and nonce, so a return can't be made up by who has seen another one. */
struct slice rndr_mark(const struct rndr_marks *m, enum rndr_way way, struct arena *mem);
/* The way of a marked forward-path whose domain is probe_domain; false for anything else. */
bool rndr_mark_read(const struct rndr_marks *m, struct slice probe_domain, struct slice path, enum rndr_way *way);

/* The plan for one way; its strings live in mem. NULL, or why it can't be tried: "needs --forward ADDRESS". */
const char *rndr_plan_make(const struct rndr_setup *s, const struct rndr_marks *m, enum rndr_way way, struct arena *mem, struct probe_plan *out);
#endif
