/* Settings of sender evidence. */
#include "smtpd/evidence_settings.h"

#include "base/dns_settings.h"
#include "base/general_settings.h"

struct evidence_settings evidence_settings;

#define AT(field) offsetof(struct evidence_settings, field)

static const struct setting rows[] = {
	{ "authserv-id", SETTING_TEXT, AT(id), "", 0, 0, NULL, NULL,
	  "Our name in Authentication-Results; empty is hostname. Fields of others that bear it are removed." },
	{ "evidence", SETTING_WORD, AT(check), "yes", 0, 0, "yes no auto", NULL,
	  "Check SPF, DKIM, DMARC and ARC of mail from strangers. auto: where dns-resolvers names some, for houses without a network." },
	{ "spf-fail", SETTING_WORD, AT(spf_fail), "tag", 0, 0, "take tag refuse", NULL, "What is done when SPF says fail: take, tag (X-Porter-Tags: spf-fail), or refuse with 550 5.7.23." },
	{ "spf-helo", SETTING_BOOL, AT(spf_helo), "no", 0, 0, NULL, NULL, "Check SPF for the HELO name too and report it apart; it is evidence of nothing." },
	{ "dmarc", SETTING_WORD, AT(dmarc), "apply", 0, 0, "apply tag ignore", NULL,
	  "What is done with DMARC's policy: apply (reject is 550 5.7.1, quarantine a tag), only tag, or ignore." },
	{ "dmarc-suffixes", SETTING_TEXT, AT(dmarc_suffixes), "", 0, 0, NULL, NULL,
	  "Organizational domains by a public suffix list, as RFC 7489 had it: builtin, or a file. Empty: the tree walk of RFC 9989." },
	{ "dmarc-reports", SETTING_BOOL, AT(reports), "yes", 0, 0, NULL, NULL,
	  "Send daily aggregate reports to the domains that ask for them (rua=). Failure reports, which hold people's mail, are never sent." },
	{ "arc-seal", SETTING_TEXT, AT(arc_seal), "", 0, 0, NULL, NULL, "The domain whose key (map signers) seals mail that is forwarded; empty seals nothing." },
	{ "sole-sender-replies", SETTING_BOOL, AT(replies), "no", 0, 0, NULL, NULL,
	  "Whether automatic replies (Auto-Submitted: auto-replied) and disposition notifications to a sole-sender domain, too, are taken only if they answer what was sent here, whatever their reverse-path." },
	{ "dkim-sign", SETTING_BOOL, AT(dkim_sign), "yes", 0, 0, NULL, NULL, "Sign mail of authenticated senders whose From is one that senders (or clients) grants them and whose domain has a line in the map signers." },
};

struct setting_table evidence_setting_table = { "smtpd", rows, sizeof rows / sizeof rows[0], &evidence_settings };

struct slice evidence_authserv_id(void)
{
	return evidence_settings.id.n ? evidence_settings.id : general_settings.hostname;
}

bool evidence_is_on(void)
{
	return slice_eq(evidence_settings.check, SLICE("yes")) || (slice_eq(evidence_settings.check, SLICE("auto")) && dns_rows.resolvers.n);
}
