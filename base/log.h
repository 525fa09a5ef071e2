#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdbool.h>
#include <stdint.h>
#include "base/slice.h"

/* One event, one line: `TIME LEVEL word key=value ...`, foreign bytes escaped; or one JSON object a line. The same session or
 * message id goes with an event from greeting to delivery. Values are quoted when they hold blanks, quotes or escapes.
 *
 *	log_event(LOG_INFO, "deliver", LOG_STR("id", id), LOG_STR("mailbox", path), LOG_UINT("size", n), LOG_END);
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_kind { LOG_KIND_END, LOG_KIND_STR, LOG_KIND_UINT, LOG_KIND_ERRNO };

struct log_field {
	enum log_kind kind;
	const char *key;
	struct slice str;
	uint64_t number;
};

#define LOG_STR(k, v) ((struct log_field){ LOG_KIND_STR, (k), (v), 0 })
#define LOG_CSTR(k, v) ((struct log_field){ LOG_KIND_STR, (k), slice_of(v), 0 })
#define LOG_UINT(k, v) ((struct log_field){ LOG_KIND_UINT, (k), SLICE_NONE, (v) })
/* error=TEXT for an errno or -errno value */
#define LOG_ERRNO(e) ((struct log_field){ LOG_KIND_ERRNO, "error", SLICE_NONE, (uint64_t)(int64_t)(e) })
#define LOG_END ((struct log_field){ LOG_KIND_END, "", SLICE_NONE, 0 })

/* Fields with an empty str are left out. */
void log_event(enum log_level level, const char *word, ...); /* struct log_field ..., LOG_END */

/* The same from an array that ends with LOG_END. */
void log_fields(enum log_level level, const char *word, const struct log_field *fields);

/* Where to: file descriptor fd (stderr, a file, or a socket to syslog); process names the role in every line. The forms have names, by which a parent tells its children. */
enum log_form { LOG_FORM_TEXT, LOG_FORM_JSON, LOG_FORM_SYSLOG, LOG_FORM_SYSLOG_JSON };
void log_open(int fd, enum log_form form, const char *process);
const char *log_form_name(void);                                   /* of the one that is open */
bool log_form_parse(struct slice name, enum log_form *out);        /* text json syslog syslog-json */
void log_set_level(enum log_level most);
enum log_level log_get_level(void);
bool log_level_parse(struct slice name, enum log_level *out); /* error warn info debug */
#endif
