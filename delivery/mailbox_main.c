/* The role `mailbox`: what is special about the process. It is not put below the mail root, since places may be absolute; what it may reach is
 * what its user may. */
#include "delivery/mailbox_main.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/house.h"
#include "base/log.h"
#include "base/proc.h"
#include "delivery/mailbox.h"
#include "delivery/mailbox_settings.h"

enum { WANTED_DESCRIPTORS = 65536, STOP_MS = 8000 };

struct self {
	struct house *house;
	struct mailbox *mailbox;
	struct loop_timer *patience;
	bool ending;
};

static void end_now(void *arg)
{
	house_end(((struct self *)arg)->house, 0);
}

static void on_idle(void *arg)
{
	struct self *s = arg;
	if (s->ending)
		end_now(s);
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	struct self *s = arg;
	(void)index;
	if (slice_eq(role, SLICE("queue")))
		mailbox_add_queue(s->mailbox, fd);
	else
		mailbox_add_peer(s->mailbox, fd);
}

/* The askers are drained, too: the last of them closes its channel. */
static void on_drain(void *arg)
{
	struct self *s = arg;
	s->ending = true;
	if (!mailbox_has_peers(s->mailbox))
		end_now(s);
}

/* What is under way gets its answer; whoever is still there after that is not waited for. */
static void on_stop(void *arg)
{
	struct self *s = arg;
	loop_timer_set(s->patience, STOP_MS);
	on_drain(s);
}

void mailbox_host_name(char out[MAILBOX_MAX_HOST])
{
	char name[256] = "localhost";
	size_t n = 0;
	gethostname(name, sizeof name - 1);
	for (const char *p = name; *p && n + 5 < MAILBOX_MAX_HOST; p++) {
		const char *as = *p == '/' ? "\\057" : *p == ':' ? "\\072" : NULL;
		if (as) {
			memcpy(out + n, as, 4);
			n += 4;
		} else {
			out[n++] = *p;
		}
	}
	out[n] = '\0';
}

static int start_helper(void *arg, uint64_t id, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd)
{
	return house_helper(arg, id, kind, user, message, words, count, fd);
}

static void on_helper_done(void *arg, uint64_t id, int status)
{
	mailbox_helper_ended(((struct self *)arg)->mailbox, id, status);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *answer)
{
	if (count != 1 || !slice_eq(words[0], SLICE("status")))
		return -ENOSYS;
	mailbox_report(((struct self *)arg)->mailbox, answer);
	return 0;
}

int mailbox_main(struct house *h)
{
	static const struct house_handler handler = {
		.on_peer = on_peer, .on_drain = on_drain, .on_stop = on_stop, .on_question = on_question, .on_helper_done = on_helper_done
	};
	static struct setting_table *const tables[] = { &mailbox_setting_table };
	static char host[MAILBOX_MAX_HOST];
	struct self self = { .house = h };
	house_settings(h, tables, 1);
	const struct proc_plan plan = { arena_cstr(&h->mem, mailbox_settings.mail_user), -1, PROC_CALLS_FILES };
	mailbox_host_name(host);
	int error = file_init(); /* while /proc is certainly there to be opened */
	proc_raise_descriptors(WANTED_DESCRIPTORS);
	house_restrict(h, &plan);
	struct mailbox_setup setup = {
		.mail_root = mailbox_settings.mail_root, .reserve = mailbox_settings.reserve, .host = slice_of(host),
		.program_user = mailbox_settings.program_user, .helpers = { start_helper, h }, .on_idle = on_idle, .arg = &self
	};
	if (error == 0)
		error = mailbox_new(h->loop, &setup, &self.mailbox);
	if (error) {
		log_event(LOG_ERROR, "mail-root-unusable", LOG_STR("path", setup.mail_root), LOG_ERRNO(error), LOG_END);
		return 1;
	}
	self.patience = loop_timer_new(h->loop, end_now, &self);
	int code = house_run(h, &handler, &self);
	loop_timer_free(self.patience);
	mailbox_free(self.mailbox);
	return code;
}
