/* The settings of TLS towards next hops. */
#include "delivery/tls_policy_settings.h"

#include <stddef.h>

struct tls_policy_settings tls_policy_settings;

#define AT(member) offsetof(struct tls_policy_settings, member)
static const struct setting rows[] = {
	{ "hop-tls", SETTING_WORD, AT(standard), "may", 0, 0, "none may encrypt verify dane", NULL,
	  "TLS to next hops for which neither routes nor the domain (by DANE or MTA-STS) say anything: none, may (where it is offered), encrypt (always, any "
	  "certificate), verify (always, a good one), dane (DANE or nothing)." },
	{ "dane", SETTING_BOOL, AT(dane), "yes", 0, 0, NULL, NULL,
	  "Look for TLSA records of hosts that DNSSEC proves (RFC 7672). Takes a trust anchor and a resolver that passes DNSSEC on." },
	{ "mta-sts", SETTING_BOOL, AT(sts), "yes", 0, 0, NULL, NULL, "Look for MTA-STS policies of domains (RFC 8461)." },
	{ "mta-sts-directory", SETTING_PATH, AT(sts_directory), "/var/lib/porter/sts", 0, 0, NULL, NULL,
	  "Where fetched policies are kept; the user _porter's." },
	{ "tls-report-from", SETTING_TEXT, AT(report_from), "", 0, 0, NULL, NULL,
	  "The address that TLS reports (RFC 8460) come from, daily, to domains that ask for them; senders must let unix:_porter use it. Empty: none are sent." },
	{ "tls-report-retry", SETTING_SPAN, AT(report_retry_s), "10m", 1, 86400, NULL, NULL,
	  "After how long a TLS report is tried again that a web server did not take; the time doubles with each try, over restarts, too, and a day later it is given up." },
	{ "mta-sts-connect", SETTING_TEXT, AT(sts_connect), "", 0, 0, NULL, NULL,
	  "HOST:PORT to fetch policies through in place of each policy host's own address, whose certificate is checked all the same. Empty: direct." },
};

struct setting_table tls_policy_setting_table = { "delivery", rows, sizeof rows / sizeof rows[0], &tls_policy_settings };
