/* One transaction at one next hop that plays a script (fake_server.h): what it was told, and a loop that runs until it was. */
#ifndef TESTS_ATTEMPT_KIT_H
#define TESTS_ATTEMPT_KIT_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/clock.h"
#include "base/log.h"
#include "delivery/attempt.h"
#include "delivery/pool.h"
#include "tests/unit/fake_server.h"

static struct loop *loop;
static struct hops hops;
static struct {
	struct mail_status rcpts[20];
	char replies[20][400], text[20][400];
	size_t told;
	struct hop_content_done done;
	struct mail_status each[20];
	char host[100], reply[400];
	bool content, late, late_known;
	int late_code;
	size_t wait_told;
	bool wait_content, wait_late;
} got;

static inline void look_for_end(void)
{
	if (got.told >= got.wait_told && (got.content || !got.wait_content) && (got.late || !got.wait_late))
		loop_stop(loop);
}

static inline void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	(void)arg;
	got.rcpts[index] = *s;
	snprintf(got.replies[index], sizeof got.replies[index], "%.*s", SLICE_FMT(reply));
	snprintf(got.text[index], sizeof got.text[index], "%.*s", SLICE_FMT(s->text));
	got.told++;
	look_for_end();
}

static inline void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	(void)arg;
	got.done = *d;
	memcpy(got.each, d->each, d->count * sizeof *d->each);
	snprintf(got.reply, sizeof got.reply, "%.*s", SLICE_FMT(reply));
	got.content = true;
	look_for_end();
}

static inline void on_late(void *arg, const struct hop_content_done *d)
{
	(void)arg;
	got.late = true;
	got.late_known = d != NULL;
	got.late_code = d ? d->status.code : 0;
	look_for_end();
}

static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL };

static inline void gave_up(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static inline void run_until(size_t told, bool content, bool late)
{
	struct loop_timer *patience = loop_timer_new(loop, gave_up, NULL);
	got.wait_told = told;
	got.wait_content = content;
	got.wait_late = late;
	loop_timer_set(patience, 60000);
	loop_run(loop);
	loop_timer_free(patience);
}

static inline struct attempt *start(const struct fake *f, unsigned flags, const char *lmtp)
{
	char place[100];
	snprintf(place, sizeof place, "%s[127.0.0.1]:%d", lmtp, f->port);
	memset(&got, 0, sizeof got);
	struct hop_envelope e = { .transaction = SLICE("T"), .place = slice_of(place), .reverse_path = SLICE("a@b.test"), .flags = flags };
	return attempt_new(&hops, &e, &handler, NULL);
}

static inline void ask(struct attempt *a, const char *address)
{
	attempt_rcpt(a, &(struct hop_recipient){ .address = slice_of(address) });
}

static inline void give(struct attempt *a, const char *content, bool eight_bit)
{
	attempt_content(a, body_new(loop, hops.worker, &(struct body_plan){ .content = slice_of(content), .fd = -1, .eight_bit = eight_bit }), 0);
}

static inline void assert_heard(const struct fake *f, const char *text)
{
	if (!fake_heard(f, text))
		print_error("not heard: %s in:\n%.*s\n", text, (int)f->heard->n, f->heard->bytes);
	assert_true(fake_heard(f, text));
	assert_string_equal(f->heard->wrong, "");
}

/* One recipient and content at once, as a job does. */
static inline void whole(const struct fake *f, const char *content)
{
	struct attempt *a = start(f, 0, "");
	ask(a, "u@far.test");
	give(a, content, false);
	run_until(1, true, false);
	attempt_free(a);
}

static inline void end(struct fake *f)
{
	pool_clear(hops.pool);
	dead_forget_all(hops.dead);
	fake_stop(f);
}

static inline void wait_a_little(void)
{
	struct loop_timer *soon = loop_timer_new(loop, gave_up, NULL);
	loop_timer_set(soon, 5);
	loop_run(loop);
	loop_timer_free(soon);
}

/* The loop runs until the other process has heard it. */
static inline bool comes_to_say(const struct fake *f, const char *text)
{
	for (int i = 0; i < 2000 && !fake_heard(f, text); i++)
		wait_a_little();
	return fake_heard(f, text);
}

static inline int set_up(void **state)
{
	(void)state;
	int null = open("/dev/null", 1);
	log_open(getenv("SHOW_LOG") ? 2 : null, LOG_FORM_TEXT, "test");
	loop = loop_new();
	hops_init(&hops, loop);
	hops.helo = SLICE("me.test");
	hops.tls = SLICE("none");
	return 0;
}
#endif
