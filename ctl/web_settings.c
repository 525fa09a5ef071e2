/* The settings of the web process. */
#include "ctl/web_settings.h"

#include <stddef.h>

struct web_settings web_settings;

/* The link is one word in a letter. */
static const char *check_url(struct slice v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] <= ' ' || (unsigned char)v.p[i] > '~')
			return "a URL in ASCII without blanks";
	return !v.n || ((slice_starts(v, SLICE("https://")) || slice_starts(v, SLICE("http://"))) && v.n < 200) ? NULL : "begins with https:// or http://";
}

#define AT(member) offsetof(struct web_settings, member)
static const struct setting rows[] = {
	{ "listen-http", SETTING_LIST, AT(listen_http), "", 0, 0, NULL, NULL,
	  "Where the RNDR check page, /metrics and /healthz are served by plain HTTP: addresses with ports; empty is off. TLS is the matter of a proxy in front; one on this machine has to put its client's address last into X-Forwarded-For, else it is taken for this machine itself." },
	{ "rndr-directory", SETTING_PATH, AT(directory), "/var/lib/porter/rndr", 0, 0, NULL, NULL, "The folder of the checks that were asked for on the page." },
	{ "listen-rndr-catch", SETTING_LIST, AT(listen_catch), "", 0, 0, NULL, NULL,
	  "Where the page's checks listen for what tested servers return; the MX of rndr-probe-domain leads here, port 25 outside of tests." },
	{ "rndr-probe-domain", SETTING_TEXT, AT(probe_domain), "", 0, 0, NULL, NULL, "The domain of the probes' forged senders; empty: the hostname." },
	{ "rndr-page-url", SETTING_TEXT, AT(page_url), "", 0, 0, NULL, check_url, "Where people reach the page, for the link in the letter by which a postmaster may agree to a check: https://rndr.example.org. "
	  "Empty: consent is shown by DNS alone." },
	{ "rndr-abuse-contact", SETTING_TEXT, AT(abuse_contact), "postmaster", 0, 0, NULL, NULL, "Whom the page names for reports of abuse." },
	{ "rndr-limit-asker", SETTING_UINT, AT(limit_asker), "5", 1, 100000, NULL, NULL, "Checks a day that one network (/24, /48) may ask for; this machine itself may ask for more." },
	{ "rndr-limit-domain", SETTING_UINT, AT(limit_domain), "5", 1, 100000, NULL, NULL, "Checks a day of one domain." },
	{ "metrics-from", SETTING_LIST, AT(metrics_from), "127.0.0.0/8 ::1", 0, 0, NULL, NULL, "Networks that may read /metrics." },
};

struct setting_table web_setting_table = { "web", rows, sizeof rows / sizeof rows[0], &web_settings };

bool web_is_wanted(void)
{
	return web_settings.listen_http.n > 0;
}
