/* A message for a program. It gets a copy of its own, a file, so that it can neither stall us by not reading nor change what others get. */
#include "delivery/program_parcel.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pen.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir.h"

/* Later than the parent's limit (program-timeout, at most 230 s) ends it, so that its end is what we hear. */
enum { PATIENCE_MS = 300000, MAX_ARGS = 64 };

enum sysexit { EXIT_OK = 0, EXIT_DATAERR = 65, EXIT_NOUSER = 67, EXIT_NOHOST = 68, EXIT_UNAVAILABLE = 69, EXIT_NOPERM = 77 };

struct program_parcel {
	struct parcel base;
	struct transaction_house *house;
	struct loop_timer *patience;
	struct pen input;
	int error;
};

struct mail_status program_fate(int wait_status)
{
	if (wait_status < 0 || !WIFEXITED(wait_status))
		return MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The program for this recipient failed, try again later");
	switch (WEXITSTATUS(wait_status)) {
	case EXIT_OK:
		return MAIL_STATUS_OK;
	case EXIT_DATAERR:
		return MAIL_STATUS(MAIL_NEVER, 554, 6, 0, "The program for this recipient refuses the content");
	case EXIT_NOUSER:
		return MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "The program for this recipient knows no such user");
	case EXIT_NOHOST:
		return MAIL_STATUS(MAIL_NEVER, 550, 1, 2, "The program for this recipient knows no such host");
	case EXIT_UNAVAILABLE:
	case EXIT_NOPERM:
		return MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "The program for this recipient refuses the message");
	default:
		return MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The program for this recipient asks to try again later");
	}
}

static void finish(struct program_parcel *p, struct mail_status status)
{
	loop_timer_stop(p->patience);
	pen_drop(&p->input);
	parcel_answer(&p->base, status);
}

static void remember(struct ran *r, struct slice transaction)
{
	char *id = r->ids[r->next++ % RAN_MAX];
	memset(id, 0, RAN_ID);
	memcpy(id, transaction.p, transaction.n < RAN_ID ? transaction.n : RAN_ID);
}

bool program_has_run(const struct transaction_house *house, struct slice transaction)
{
	for (size_t i = 0; i < RAN_MAX; i++)
		if (slice_eq(slice(house->ran.ids[i], strnlen(house->ran.ids[i], RAN_ID)), transaction))
			return true;
	return false;
}

static void on_end(void *arg, int wait_status)
{
	struct program_parcel *p = arg;
	int code = wait_status >= 0 && WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 0;
	int signal = wait_status >= 0 && WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
	log_event(LOG_INFO, "program-ended", LOG_STR("id", p->base.content->transaction), LOG_STR("program", slice_of(p->base.leaves[0]->place.p)),
	          LOG_UINT("exit", (uint64_t)code), LOG_UINT("signal", (uint64_t)signal), LOG_END);
	if (program_fate(wait_status).fate == MAIL_OK)
		remember(&p->house->ran, p->base.content->transaction);
	finish(p, program_fate(wait_status));
}

/* It may go on; its late success costs a duplicate. */
static void too_late(void *arg)
{
	struct program_parcel *p = arg;
	helper_forget(p->house, p);
	finish(p, program_fate(-ETIMEDOUT));
}

static void run(void *arg)
{
	struct program_parcel *p = arg;
	struct slice words[MAX_ARGS], rest = p->base.leaves[0]->place;
	size_t count = 0;
	while (rest.p && count < MAX_ARGS)
		words[count++] = slice_cut(rest, '\0', &rest);
	if (p->error || rest.p) {
		finish(p, mailbox_status_of(p->error ? p->error : -EINVAL));
		return;
	}
	loop_timer_set(p->patience, PATIENCE_MS);
	helper_begin(p->house, SLICE("program"), p->house->program_user, p->base.content->transaction, words, count, p->input.fd, on_end, p);
}

static int open_input(struct program_parcel *p)
{
	enum pen_way way = mailbox_stores_root(p->house->stores)->store.way;
	char name[MAILDIR_MAX_NAME];
	int folder, error;
	maildir_name(name, p->base.content->transaction, p->house->host, p->base.content->length);
	error = maildir_open_folder(p->house->stores->root, way == PEN_UNNAMED ? SLICE_NONE : SLICE("tmp"), true, &folder);
	if (error)
		return error;
	error = pen_open(&p->input, way, folder, name);
	file_close(&folder);
	return error;
}

static void write_input(void *arg)
{
	struct program_parcel *p = arg;
	const struct parcel_content *c = p->base.content;
	p->error = open_input(p);
	if (p->error == 0)
		p->error = c->pen ? pen_copy(&p->input, c->pen, c->length) : pen_write(&p->input, c->bytes);
	if (p->error == 0 && lseek(p->input.fd, 0, SEEK_SET) < 0)
		p->error = -errno;
}

static void nothing_to_do(void *arg)
{
	parcel_answer(arg, MAIL_STATUS_OK);
}

static void start(struct parcel *base, enum parcel_step step)
{
	struct program_parcel *p = (struct program_parcel *)base;
	switch (step) {
	case PARCEL_PREPARE:
	case PARCEL_UNDO:
		loop_later(p->house->loop, nothing_to_do, base);
		return;
	case PARCEL_COMMIT:
	case PARCEL_DELIVER:
		worker_add(p->house->slow, write_input, run, p);
		return;
	}
}

static void free_parcel(struct parcel *base)
{
	struct program_parcel *p = (struct program_parcel *)base;
	loop_timer_free(p->patience);
	pen_drop(&p->input);
	mem_free(base->leaves);
	mem_free(base->results);
	mem_free(p);
}

static const struct parcel_kind program_kind = { start, free_parcel, true };

struct parcel *program_parcel_new(struct transaction_house *house, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                                  struct mailbox_leaf_result *result)
{
	struct program_parcel *p = MEM_NEW(struct program_parcel);
	parcel_init(&p->base, &program_kind, content, leaf, result);
	p->house = house;
	p->patience = loop_timer_new(house->loop, too_late, p);
	p->input = PEN_NONE;
	return &p->base;
}
