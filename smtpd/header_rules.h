#ifndef SMTPD_HEADER_RULES_H
#define SMTPD_HEADER_RULES_H
#include "smtpd/check.h"

/* The map `header` (maps/header_rule.h) as a check of content. */
extern const struct check_kind header_check;
#endif
