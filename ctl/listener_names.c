/* Listeners by name. */
#include "ctl/listener_names.h"

#include "ctl/web_settings.h"
#include "smtpd/smtpd_settings.h"

const struct listener_name listener_names[] = {
	{ "mx", &smtpd_settings.listen_mx, true },
	{ "submission", &smtpd_settings.listen_submission, true },
	{ "submissions", &smtpd_settings.listen_submissions, true },
	{ "http", &web_settings.listen_http, false },
	{ "rndr-catch", &web_settings.listen_catch, false },
};
const size_t listener_name_count = sizeof listener_names / sizeof *listener_names;
