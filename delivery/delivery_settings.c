/* The settings of the process that talks to next hops. */
#include "delivery/delivery_settings.h"

#include <stddef.h>

struct delivery_settings delivery_settings;

#define AT(member) offsetof(struct delivery_settings, member)
static const struct setting rows[] = {
	{ "hop-chunking", SETTING_BOOL, AT(chunking), "yes", 0, 0, NULL, NULL, "Content goes by BDAT (RFC 3030) to next hops that offer it." },
	{ "hop-port", SETTING_UINT, AT(port), "25", 1, 65535, NULL, NULL, "The port of hosts that MX records name." },
	{ "hop-connect-timeout", SETTING_SPAN, AT(connect_s), "10s", 1, 300, NULL, NULL, "How long one address of a next hop may take to be connected to." },
	{ "hop-concurrency", SETTING_UINT, AT(concurrency), "50", 1, 10000, NULL, NULL,
	  "Queued messages on their way at once to one place, and to all places whose mail hosts are one house (their names but for the first label), at most; fewer are while it refuses or is slow to answer." },
	{ "hop-rate", SETTING_UINT, AT(rate), "0", 0, 100000000, NULL, NULL, "Queued messages a minute to one such house, at most; 0 is no limit. Fewer are while it says (421, or 4xx with such words) that they come too fast: half, and "
	  "then a tenth more each minute." },
	{ "hop-recipient-cache", SETTING_SPAN, AT(positive_s), "7d", 0, 2592000, NULL, NULL,
	  "How long a next hop's word is believed that a recipient is good." },
	{ "hop-refusal-cache", SETTING_SPAN, AT(negative_s), "10m", 0, 86400, NULL, NULL,
	  "How long a next hop's word is believed that a recipient is unknown (its own 5.1.x)." },
};

struct setting_table delivery_setting_table = { "delivery", rows, sizeof rows / sizeof rows[0], &delivery_settings };
