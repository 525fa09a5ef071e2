#ifndef SMTPD_EVIDENCE_SETTINGS_H
#define SMTPD_EVIDENCE_SETTINGS_H
#include <stdbool.h>
#include "base/setting.h"

struct evidence_settings {
	struct slice id;               /* authserv-id; "" the host's name */
	struct slice check;            /* yes | no | auto */
	struct slice spf_fail;         /* take | tag | refuse */
	bool spf_helo;
	struct slice dmarc;            /* apply | tag | ignore */
	struct slice dmarc_suffixes;   /* "" the tree walk; "builtin" or a file */
	struct slice arc_seal;         /* domain whose key seals; "" nothing is sealed */
	bool dkim_sign;
	bool reports;                  /* DMARC aggregate reports */
	bool replies;                  /* automatic replies and MDNs are asked for, too, what they answer */
};
extern struct evidence_settings evidence_settings;
extern struct setting_table evidence_setting_table;

struct slice evidence_authserv_id(void);
bool evidence_is_on(void);
#endif
