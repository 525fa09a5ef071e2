/* The settings of the receiving side. */
#include "smtpd/smtpd_settings.h"

#include <stddef.h>

#include "base/net.h"
#include "maps/resolve.h"

struct smtpd_settings smtpd_settings;

static const char *check_ranges(struct slice value)
{
	size_t count = 0;
	while (value.n) {
		struct slice item = slice_cut(value, ' ', &value);
		struct net_ip ip;
		unsigned prefix;
		const char *why;
		if (item.n && !net_range_parse(item, &ip, &prefix, &why))
			return "holds something that is no network (192.0.2.0/24, 2001:db8::/32)";
		count += item.n > 0;
	}
	return count > SMTPD_MAX_EXEMPT ? "names more than 256 networks" : NULL;
}

static const char *check_addresses(struct slice value)
{
	while (value.n) {
		struct slice item = slice_cut(value, ' ', &value);
		struct net_address a;
		const char *why;
		if (item.n && !net_address_parse(item, 0, &a, &why))
			return "holds something that is no address with a port (127.0.0.1:25, [::1]:25, *:25)";
	}
	return NULL;
}

#define AT(member) offsetof(struct smtpd_settings, member)
static const struct setting rows[] = {
	{ "listen-mx", SETTING_LIST, AT(listen_mx), "*:25", 0, 0, NULL, check_addresses, "Where mail from everywhere is taken: addresses with ports." },
	{ "listen-submission", SETTING_LIST, AT(listen_submission), "", 0, 0, NULL, check_addresses, "Where our own people hand in mail, by STARTTLS and AUTH (port 587)." },
	{ "listen-submissions", SETTING_LIST, AT(listen_submissions), "", 0, 0, NULL, check_addresses, "The same inside of TLS from the first byte (port 465)." },
	{ "smtpd-processes", SETTING_UINT, AT(processes), "0", 0, 64, NULL, NULL, "How many processes speak SMTP; 0 is one for each processor." },
	{ "size-limit", SETTING_SIZE, AT(size_limit), "50M", 1024, UINT64_C(1) << 40, NULL, NULL, "The largest message, in bytes as it came; larger ones are answered 552." },
	{ "max-sessions", SETTING_UINT, AT(max_sessions), "20000", 1, 1000000, NULL, NULL, "Sessions side by side in all smtpd processes; further clients are answered 421." },
	{ "max-sessions-address", SETTING_UINT, AT(max_sessions_address), "50", 1, 1000000, NULL, NULL,
	  "Sessions of one client address, in all smtpd processes." },
	{ "max-sessions-network", SETTING_UINT, AT(max_sessions_network), "200", 1, 1000000, NULL, NULL, "Sessions of one network (/24, /48), in all smtpd processes." },
	{ "max-recipients", SETTING_UINT, AT(max_recipients), "1000", 100, RESOLVE_MAX_LEAVES, NULL, NULL, "Recipients of one transaction (RFC 5321 4.5.3.1.8: at least 100); further ones are answered 452, as is an alias that would make it more than 1,000 mailboxes and addresses elsewhere together." },
	{ "max-commands", SETTING_UINT, AT(max_commands), "5000", 100, 10000000, NULL, NULL, "Commands of one session beside RCPT; then 421." },
	{ "max-errors", SETTING_UINT, AT(max_errors), "20", 1, 100000, NULL, NULL, "Refused commands of one session, unknown recipients not counted; then 421." },
	{ "max-received", SETTING_UINT, AT(max_received), "100", 10, 1000, NULL, NULL, "Received fields of a message (RFC 5321 6.3: at least 100 hops); more are a loop." },
	{ "command-timeout", SETTING_SPAN, AT(command_timeout_s), "5m", 5, 86400, NULL, NULL, "How long a client may take for a command (RFC 5321 4.5.3.2.7: 5 minutes)." },
	{ "data-timeout", SETTING_SPAN, AT(data_timeout_s), "3m", 5, 86400, NULL, NULL, "How long content may stand still (RFC 5321 4.5.3.2.5: 3 minutes)." },
	{ "session-timeout", SETTING_SPAN, AT(session_timeout_s), "4h", 60, 604800, NULL, NULL, "How long a session may last in all." },
	{ "greet-delay", SETTING_UINT, AT(greet_delay_ms), "100", 0, 60000, NULL, NULL,
	  "Milliseconds before the greeting to clients that are not exempt; who speaks before it is answered 554." },
	{ "limit-exempt", SETTING_LIST, AT(limit_exempt), "127.0.0.0/8 ::1", 0, 0, NULL, check_ranges, "Networks without limits of sessions, rates and harvesting." },
	{ "harvest-slow", SETTING_UINT, AT(harvest_slow), "10", 1, 1000000, NULL, NULL, "Unknown recipients of one client, after decay, from which on answers to RCPT wait." },
	{ "harvest-blind", SETTING_UINT, AT(harvest_blind), "40", 1, 1000000, NULL, NULL, "And from which on every RCPT is answered 250, and the dot 451." },
	{ "harvest-refuse", SETTING_UINT, AT(harvest_refuse), "200", 1, 1000000, NULL, NULL, "And from which on connections are answered 421." },
	{ "harvest-half-life", SETTING_SPAN, AT(harvest_half_life_s), "1h", 1, 2592000, NULL, NULL, "After this time half of the count is forgotten." },
	{ "harvest-refuse-time", SETTING_SPAN, AT(harvest_refuse_s), "15m", 1, 2592000, NULL, NULL, "How long a refusal lasts at least." },
	{ "harvest-good", SETTING_UINT, AT(harvest_good), "20", 1, 1000000, NULL, NULL, "Good recipients, after decay, that make a network one that is never blinded." },
	{ "rate-client", SETTING_UINT, AT(rate_client), "0", 0, 100000000, NULL, NULL, "Messages an hour from one client address; 0 is no limit." },
	{ "rate-network", SETTING_UINT, AT(rate_network), "0", 0, 100000000, NULL, NULL, "Messages an hour from one network (/24, /48)." },
	{ "rate-reverse-path", SETTING_UINT, AT(rate_reverse_path), "0", 0, 100000000, NULL, NULL, "Messages an hour with one reverse-path." },
	{ "rate-recipient", SETTING_UINT, AT(rate_recipient), "0", 0, 100000000, NULL, NULL, "Messages an hour to one recipient: to the place that a forward-path leads to, whatever it is written like; where there are several, to that forward-path." },
	{ "hop-patience", SETTING_SPAN, AT(hop_patience_s), "60s", 1, 270, NULL, NULL,
	  "How long a client may wait at RCPT for a next hop: names, all its hosts, connecting, TLS, MAIL and RCPT together; then 451. RFC 5321 4.5.3.2.3 has it wait five minutes." },
	{ "hop-dot-patience", SETTING_SPAN, AT(hop_dot_patience_s), "4m", 1, 570, NULL, NULL,
	  "How long it may wait behind its dot until a next hop has the content and answers; then 451, and a reply that comes later is noted. RFC 5321 4.5.3.2.6 has it wait ten minutes." },
};

struct setting_table smtpd_setting_table = { "smtpd", rows, sizeof rows / sizeof rows[0], &smtpd_settings };
