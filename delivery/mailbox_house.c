/* The short-lived processes that are under way for us, by id. */
#include "delivery/mailbox_house.h"

#include <errno.h>

#include "base/mem.h"

struct helper_run {
	struct helper_run *next;
	struct transaction_house *house;
	uint64_t id;
	int error;                 /* it did not start */
	void (*ended)(void *arg, int status);
	void *arg;
};

static void tell(struct transaction_house *house, uint64_t id, int status)
{
	struct helper_run **at = &house->running;
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	struct helper_run *run = *at;
	if (run == NULL)
		return;
	*at = run->next;
	if (run->ended)
		run->ended(run->arg, status);
	mem_free(run);
}

static void did_not_start(void *arg)
{
	struct helper_run *run = arg;
	tell(run->house, run->id, run->error);
}

void helper_begin(struct transaction_house *house, struct slice kind, struct slice user, struct slice message, const struct slice *words, size_t count, int fd,
                  void (*ended)(void *arg, int status), void *arg)
{
	struct helper_run *run = MEM_NEW(struct helper_run);
	*run = (struct helper_run){ house->running, house, ++house->last_helper, -ENOSYS, ended, arg };
	house->running = run;
	if (house->helpers.start)
		run->error = house->helpers.start(house->helpers.arg, run->id, kind, user, message, words, count, fd);
	if (run->error)
		loop_later(house->loop, did_not_start, run);
}

void helper_forget(struct transaction_house *house, void *arg)
{
	for (struct helper_run *run = house->running; run; run = run->next)
		if (run->arg == arg)
			run->ended = NULL;
}

void helper_forget_all(struct transaction_house *house)
{
	struct helper_run *run;
	while ((run = house->running)) {
		house->running = run->next;
		mem_free(run);
	}
}

void helper_ended(struct transaction_house *house, uint64_t id, int status)
{
	tell(house, id, status);
}
