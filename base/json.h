#ifndef BASE_JSON_H
#define BASE_JSON_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/slice.h"

/* JSON of strangers (RFC 8259), read without a tree: each scalar is told with its path, "policies.0.summary.total-failure-session-count"; names and places
 * are joined by dots. Bounded in depth and in the length of a path. */
enum { JSON_MAX_DEPTH = 16, JSON_MAX_PATH = 256 };
enum json_kind { JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL };

/* value: the string decoded (in mem), or the number as written; valid during the call, path too. each says false: enough. 0, or -EPROTO: no JSON, or past a bound. */
int json_each(struct slice text, struct arena *mem, bool (*each)(void *arg, struct slice path, enum json_kind kind, struct slice value), void *arg);
#endif
