/* The settings of whatever has a say before the 250: milters, policy services, DNS lists, greylisting, header rules. */
#include "smtpd/filter_settings.h"

#include <stddef.h>

#include "smtpd/dnsbl.h"
#include "smtpd/filter_service.h"

struct filter_settings filter_settings;

static const char *check_services(struct slice value)
{
	const struct filter_service preset = { .timeout_ms = 1 };
	size_t count = 0;
	while (value.n) {
		struct slice item = slice_cut(value, ' ', &value);
		struct filter_service s;
		const char *why = item.n ? filter_service_parse(item, &preset, &s) : NULL;
		if (why)
			return why;
		count += item.n > 0;
	}
	return count > FILTER_MAX_SERVICES ? "names more than 16 services" : NULL;
}

static const char *check_zones(struct slice value)
{
	size_t count = 0;
	while (value.n) {
		struct slice item = slice_cut(value, ' ', &value);
		struct dnsbl_zone z;
		if (item.n && !dnsbl_zone_parse(item, &z))
			return "holds something that is no zone (zen.example.org, list.example.org=127.0.0.2*3, good.example.org*-5)";
		count += item.n > 0;
	}
	return count > DNSBL_MAX_ZONES ? "names more than 16 zones" : NULL;
}

#define AT(member) offsetof(struct filter_settings, member)
static const struct setting rows[] = {
	{ "milters", SETTING_LIST, AT(milters), "", 0, 0, NULL, check_services,
	  "Filters that speak the milter protocol, asked in this order: NAME=ADDRESS[,timeout=SPAN][,down=defer|accept], the address HOST:PORT or unix:/PATH." },
	{ "milter-timeout", SETTING_SPAN, AT(milter_timeout_s), "30s", 1, 3600, NULL, NULL, "How long a milter may take for an answer." },
	{ "milter-down", SETTING_WORD, AT(milter_down), "defer", 0, 0, "defer accept", NULL,
	  "What happens to mail while a milter can't be asked: 451, or it goes on without it." },
	{ "milter-body-limit", SETTING_SIZE, AT(milter_body_limit), "50M", 1024, UINT64_C(1) << 28, NULL, NULL, "The largest body that a milter may put in place of another." },
	{ "policy-services", SETTING_LIST, AT(policy_services), "", 0, 0, NULL, check_services,
	  "Services that speak Postfix's policy protocol: NAME=ADDRESS[,at=connect|helo|mail|rcpt|data|dot][,timeout=SPAN][,down=defer|accept]." },
	{ "policy-timeout", SETTING_SPAN, AT(policy_timeout_s), "20s", 1, 3600, NULL, NULL, "How long a policy service may take for an answer." },
	{ "policy-down", SETTING_WORD, AT(policy_down), "defer", 0, 0, "defer accept", NULL, "What happens to mail while a policy service can't be asked." },
	{ "unix-sockets", SETTING_LIST, AT(unix_sockets), "", 0, 0, NULL, NULL,
	  "Unix sockets beside those of filters that processes in their own root folders may be connected to (LMTP servers)." },
	{ "dnsbl-zones", SETTING_LIST, AT(dnsbl_zones), "", 0, 0, NULL, check_zones,
	  "DNS lists of client addresses, ZONE[=ADDRESS[/PREFIX]][*WEIGHT]: a client's score is the sum of the weights of those that list it, negative ones speak for it." },
	{ "score-no-name", SETTING_UINT, AT(score_no_name), "0", 0, 1000, NULL, NULL, "Weight of a client address without a confirmed name; not while DNS can't tell." },
	{ "score-bad-helo", SETTING_UINT, AT(score_bad_helo), "0", 0, 1000, NULL, NULL, "Weight of an EHLO name that is no full name and no address literal, or is ours." },
	{ "score-tag", SETTING_UINT, AT(score_tag), "0", 0, 100000, NULL, NULL, "From this score on mail is tagged `score`; 0 is never." },
	{ "score-greylist", SETTING_UINT, AT(score_greylist), "0", 0, 100000, NULL, NULL, "From this score on mail is greylisted; 0 is never." },
	{ "score-refuse", SETTING_UINT, AT(score_refuse), "0", 0, 100000, NULL, NULL, "From this score on recipients are answered 550, postmaster and abuse spared; 0 is never." },
	{ "greylist", SETTING_BOOL, AT(greylist_all), "no", 0, 0, NULL, NULL, "Whether all strangers are greylisted; else those that access or a check tags `greylist`." },
	{ "greylist-delay", SETTING_SPAN, AT(greylist_delay_s), "5m", 1, 86400, NULL, NULL, "How long a new client, sender and recipient wait." },
	{ "greylist-window", SETTING_SPAN, AT(greylist_window_s), "2d", 60, 2592000, NULL, NULL, "How long a try again is waited for." },
	{ "greylist-keep", SETTING_SPAN, AT(greylist_keep_s), "35d", 3600, 31536000, NULL, NULL, "How long one that came again stays known." },
	{ "greylist-entries", SETTING_UINT, AT(greylist_entries), "65536", 1024, 16777216, NULL, NULL, "How many of them are remembered, 16 bytes each; the oldest go first." },
	{ "header-match-limit", SETTING_UINT, AT(header_match_limit), "10000", 100, 10000000, NULL, NULL,
	  "Steps that one pattern of the map header may take from one place of a field on; past it the message is answered 451." },
	{ "header-time-limit", SETTING_UINT, AT(header_time_limit_ms), "20", 1, 10000, NULL, NULL,
	  "Milliseconds of a processor that all patterns of the map header may take for one message; past it the message is answered 451." },
};

struct setting_table filter_setting_table = { "filter", rows, sizeof rows / sizeof rows[0], &filter_settings };

bool filter_settings_name_socket(struct slice path)
{
	const struct slice lists[] = { filter_settings.milters, filter_settings.policy_services };
	const struct filter_service preset = { .timeout_ms = 1 };
	for (size_t i = 0; i < 2; i++) {
		struct slice list = lists[i];
		while (list.n) {
			struct filter_service s;
			struct slice item = slice_cut(list, ' ', &list);
			if (item.n && !filter_service_parse(item, &preset, &s) && s.address.sa.any.sa_family == AF_UNIX && slice_eq(slice_of(s.address.sa.un.sun_path), path))
				return true;
		}
	}
	return false;
}
