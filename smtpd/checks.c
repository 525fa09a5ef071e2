/* The kinds of checks, in the order in which a session passes them. */
#include "smtpd/check.h"

#include <stddef.h>

#include "smtpd/author.h"
#include "smtpd/client_name.h"
#include "smtpd/dnsbl.h"
#include "smtpd/evidence.h"
#include "smtpd/fixup.h"
#include "smtpd/greylist.h"
#include "smtpd/header_rules.h"
#include "smtpd/milter.h"
#include "smtpd/policy_service.h"
#include "smtpd/returns.h"
#include "smtpd/usage_check.h"

const struct check_kind *const check_kinds[] = {
	&client_name_check, /* the others may ask for the name, and access by the name spares from others */
	&evidence_check,
	&author_check,
	&fixup_check,       /* before anybody reads or signs what is mended */
	&dnsbl_check,
	&greylist_check,    /* behind what tags for it */
	&policy_check,
	&header_check,
	&milter_check,
	&returns_check,
	&usage_check,       /* what was refused before counts for nobody */
	&signing_check,     /* the last: what it signs is what leaves */
	NULL
};
