#ifndef SMTPD_CLIENT_NAME_H
#define SMTPD_CLIENT_NAME_H
#include "smtpd/check.h"

/* What a client is called: a name that the reverse of its address gives, and that leads back to the address; anybody can claim any name in a reverse of his own. It is
 * asked before the greeting, where somebody wants it: the map access (ptr:), score-no-name, milters, policy services; never of exempt clients. DNS that can't tell, or not
 * in time, leaves it unknown: that holds nobody up, counts for nothing and matches nothing. */
extern const struct check_kind client_name_check;
#endif
