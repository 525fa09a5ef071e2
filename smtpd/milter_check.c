/* The check `milter`: all filters of the settings, one after the other at each stage. */
#include <assert.h>

#include "base/mem.h"
#include "smtpd/filter_settings.h"
#include "smtpd/milter.h"
#include "smtpd/smtpd.h"

static struct filter_service services[FILTER_MAX_SERVICES];
static size_t service_count;

struct filters {
	struct check *check;
	struct milter *milters[FILTER_MAX_SERVICES];
	size_t at;                /* whose turn it is */
	enum check_stage stage;
};

static void start(struct smtpd *d)
{
	(void)d;
	const struct filter_service preset = { .timeout_ms = filter_settings.milter_timeout_s * 1000, .accept_when_down = slice_eq(filter_settings.milter_down, SLICE("accept")) };
	service_count = filter_services_read(filter_settings.milters, &preset, services, FILTER_MAX_SERVICES);
}

static enum check_step go_on(struct filters *f)
{
	for (; f->at < service_count; f->at++) {
		enum check_step step = check_is_passed_by(f->check, services[f->at].name) ? CHECK_GO_ON : milter_run(f->milters[f->at], f->stage);
		if (step != CHECK_GO_ON)
			return step;
	}
	return CHECK_GO_ON;
}

static void one_is_done(void *arg, enum check_step step)
{
	struct filters *f = arg;
	f->at += step == CHECK_GO_ON;
	step = step == CHECK_GO_ON ? go_on(f) : step;
	if (step != CHECK_WAIT)
		check_answer(f->check, step);
}

static void *begin(struct check *c)
{
	if (!service_count)
		return NULL;
	struct filters *f = MEM_NEW(struct filters);
	f->check = c;
	check_adds_fields(c);
	for (size_t i = 0; i < service_count; i++)
		f->milters[i] = milter_new(&services[i], c, one_is_done, f);
	return f;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct filters *f = state;
	(void)c;
	if (stage < CHECK_MAIL)
		return CHECK_GO_ON;
	f->stage = stage;
	f->at = 0;
	return go_on(f);
}

static void cancel(void *state, struct check *c)
{
	struct filters *f = state;
	(void)c;
	assert(f->at < service_count);
	milter_cancel(f->milters[f->at]);
}

static void reset(void *state, struct check *c)
{
	struct filters *f = state;
	(void)c;
	for (size_t i = 0; i < service_count; i++)
		milter_reset(f->milters[i]);
}

static void end(void *state)
{
	struct filters *f = state;
	for (size_t i = 0; i < service_count; i++)
		milter_free(f->milters[i]);
	mem_free(f);
}

const struct check_kind milter_check = { .name = "filter", .start = start, .begin = begin, .run = run, .cancel = cancel, .reset = reset, .end = end };
