/* The short-lived process of a system user: the mailbox process's own engine, with the home as its mail root and one peer. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "delivery/mailbox.h"
#include "delivery/mailbox_main.h"
#include "delivery/system_parcel.h"

enum { EX_OK = 0, EX_TEMPFAIL = 75 }; /* sysexits.h */

static void on_idle(void *arg)
{
	loop_stop(arg);
}

int system_user_main(void)
{
	const char *told = getenv("HOME"), *home = told ? told : "";
	struct loop *l = loop_new();
	char host[MAILBOX_MAX_HOST];
	struct mailbox *m;
	int channel, error = home[0] == '/' ? file_dup(STDIN_FILENO, &channel) : -ENOENT;
	mailbox_host_name(host);
	struct mailbox_setup setup = { .mail_root = slice_of(home), .host = slice_of(host), .home = true, .on_idle = on_idle, .arg = l };
	if (error == 0)
		error = mailbox_new(l, &setup, &m);
	if (error) {
		log_event(LOG_WARN, "home-unusable", LOG_CSTR("home", home), LOG_ERRNO(error), LOG_END);
		loop_free(l);
		return EX_TEMPFAIL;
	}
	mailbox_add_peer(m, channel);
	loop_run(l);
	mailbox_free(m);
	loop_free(l);
	return EX_OK;
}
