/* The kinds of checks, in the order in which a session passes them. */
#include "smtpd/check.h"

#include <stddef.h>

#include "smtpd/evidence.h"

const struct check_kind *const check_kinds[] = {
	&evidence_check,
	&signing_check,     /* the last: what it signs is what leaves */
	NULL
};
