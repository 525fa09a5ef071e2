/* Days that are over, one domain after another, with a pause between: nobody waits for them. What a place did not take waits here. */
#include "delivery/tls_report_house.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/tls.h"
#include "base/unique.h"
#include "delivery/tls_policy_settings.h"

enum { LOOK_MS = 600000, NEXT_MS = 2000, MAX_JSON = 64 << 10, DAY_S = 86400, FIRST_HELPER = 1 << 30, MAX_TELLING = 200 };

/* One report on its way to one place. */
struct telling {
	struct telling *next;
	struct tls_report_day day;
	char *id, *place;
	uint64_t helper;               /* 0: it waits */
	int64_t began_s, again_s;
	uint64_t pause_s;
};

struct tls_report_house {
	struct house *house;
	struct dns *dns;
	struct tls_report *counts;
	struct loop_timer *timer;
	struct dns_query *asked;
	struct tls_report_day day;     /* the one that is being told */
	struct telling *telling;
	size_t telling_count;
	uint64_t helpers;
	struct loop_timer *again;
};

static void next(struct tls_report_house *t)
{
	loop_timer_set(t->timer, tls_report_waiting(t->counts, clock_wall_s()) ? NEXT_MS : LOOK_MS);
}

static size_t find_places(const struct dns_answer *a, struct slice places[TLS_REPORT_PLACES])
{
	size_t records = 0, count = 0;
	for (size_t i = 0; a->answer == FOUND && i < a->count; i++)
		if (slice_starts(a->records[i].data, SLICE("v=TLSRPTv1"))) {
			records++;
			count = tls_report_places(a->records[i].data, places);
		}
	return records == 1 ? count : 0; /* 3: more than one record is none */
}

static int start_helper(struct tls_report_house *t, struct telling *x)
{
	char drop[4200], first[24], last[24];
	struct buf json = BUF_INIT(MAX_JSON);
	int fds[2], error;
	tls_report_json(&x->day, general_settings.hostname, tls_policy_settings.report_from, slice_of(x->id), &json);
	error = buf_full(&json) ? -EMSGSIZE : ipc_pair(fds);
	if (error) {
		buf_free(&json);
		return error;
	}
	snprintf(drop, sizeof drop, "%.*s/drop", SLICE_FMT(general_settings.spool_directory));
	snprintf(first, sizeof first, "%llu", (unsigned long long)x->day.day * DAY_S);
	snprintf(last, sizeof last, "%llu", ((unsigned long long)x->day.day + 1) * DAY_S - 1);
	const struct slice words[] = { slice_of(drop), tls_policy_settings.report_from, general_settings.hostname, tls_settings.roots, slice_of(x->day.domain), slice_of(x->id),
		slice_of(first), slice_of(last), slice_of(x->place) };
	x->helper = FIRST_HELPER + t->helpers++;
	fcntl(fds[1], F_SETFL, 0);
	error = house_helper(t->house, x->helper, SLICE("tls-report"), SLICE_NONE, SLICE_NONE, words, sizeof words / sizeof *words, fds[1]);
	close(fds[1]);
	error = error ? error : ipc_send_blocking(fds[0], TLS_REPORT_TEXT, 1, buf_slice(&json), -1); /* a frame of some KiB, which the socket takes */
	close(fds[0]);
	buf_free(&json);
	return error;
}

static void forget(struct tls_report_house *t, struct telling *x)
{
	struct telling **at = &t->telling;
	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
	t->telling_count--;
	mem_free(x->id);
	mem_free(x->place);
	mem_free(x);
}

/* The pauses double; a day after the first try it is over. */
static void wait_for(struct tls_report_house *t, struct telling *x)
{
	int64_t now = clock_wall_s();
	x->helper = 0;
	x->again_s = now + (int64_t)x->pause_s;
	x->pause_s *= 2;
	bool over = x->again_s > x->began_s + DAY_S;
	log_event(LOG_WARN, over ? "tls-report-lost" : "tls-report-waits", LOG_CSTR("domain", x->day.domain), LOG_CSTR("to", x->place), LOG_END);
	if (over)
		forget(t, x);
}

static void set_again(struct tls_report_house *t)
{
	int64_t soonest = 0, now = clock_wall_s();
	for (struct telling *x = t->telling; x; x = x->next)
		if (!x->helper && (!soonest || x->again_s < soonest))
			soonest = x->again_s;
	if (soonest)
		loop_timer_set(t->again, soonest > now ? (uint64_t)(soonest - now) * 1000 : 1000);
}

static void tell(struct tls_report_house *t, struct telling *x)
{
	int error = start_helper(t, x);
	log_event(error ? LOG_WARN : LOG_INFO, "tls-report", LOG_CSTR("domain", x->day.domain), LOG_CSTR("to", x->place), LOG_UINT("good", x->day.good), LOG_UINT("bad", x->day.bad),
	          error ? LOG_ERRNO(error) : LOG_END, LOG_END);
	if (error)
		wait_for(t, x);
}

static void tell_again(void *arg)
{
	struct tls_report_house *t = arg;
	for (struct telling *x = t->telling, *after; x; x = after) {
		after = x->next;
		if (!x->helper && x->again_s <= clock_wall_s())
			tell(t, x);
	}
	set_again(t);
}

void tls_report_house_done(struct tls_report_house *t, uint64_t id, int status)
{
	for (struct telling *x = t->telling; x; x = x->next) {
		if (x->helper != id)
			continue;
		if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == TLS_REPORT_NOWHERE))
			forget(t, x);
		else
			wait_for(t, x);
		set_again(t);
		return;
	}
}

static void got_record(void *arg, const struct dns_answer *a)
{
	struct tls_report_house *t = arg;
	struct slice places[TLS_REPORT_PLACES];
	struct buf id = BUF_INIT(400);
	struct unique mark = unique_new();
	size_t count = find_places(a, places);
	t->asked = NULL;
	buf_addf(&id, "%.*s@%.*s", SLICE_FMT(unique_slice(&mark)), SLICE_FMT(general_settings.hostname));
	for (size_t i = 0; i < count && t->telling_count < MAX_TELLING; i++) {
		struct telling *x = MEM_NEW(struct telling);
		*x = (struct telling){ .next = t->telling, .day = t->day, .id = mem_copy(id.p, id.n), .place = mem_copy(places[i].p, places[i].n), .began_s = clock_wall_s(),
			               .pause_s = tls_policy_settings.report_retry_s };
		t->telling = x;
		t->telling_count++;
		tell(t, x);
	}
	set_again(t);
	buf_free(&id);
	next(t);
}

static void look(void *arg)
{
	struct tls_report_house *t = arg;
	char name[TLS_REPORT_NAME + 16];
	if (!tls_report_take(t->counts, clock_wall_s(), &t->day)) {
		next(t);
		return;
	}
	t->day.domain[TLS_REPORT_NAME - 1] = '\0';
	if (!tls_policy_settings.report_from.n) {
		next(t); /* told to nobody, forgotten */
		return;
	}
	int n = snprintf(name, sizeof name, "_smtp._tls.%s", t->day.domain);
	t->asked = dns_ask(t->dns, DNS_TXT, slice(name, (size_t)n), got_record, t);
}

static struct tls_report *attach(struct house *h)
{
	size_t size = 0;
	void *memory = shared_map(h, SLICE("shared:tls-report"), tls_report_size(), &size);
	return tls_report_attach(memory, size);
}

struct tls_report_house *tls_report_house_new(struct house *h, struct dns *d)
{
	struct tls_report_house *t = MEM_NEW(struct tls_report_house);
	t->house = h;
	t->dns = d;
	t->counts = attach(h);
	t->timer = loop_timer_new(h->loop, look, t);
	t->again = loop_timer_new(h->loop, tell_again, t);
	loop_timer_set(t->timer, NEXT_MS);
	return t;
}

struct tls_report *tls_report_house_counts(struct tls_report_house *t)
{
	return t->counts;
}

void tls_report_house_free(struct tls_report_house *t)
{
	dns_cancel(t->asked);
	loop_timer_free(t->timer);
	loop_timer_free(t->again);
	while (t->telling)
		forget(t, t->telling);
	tls_report_free(t->counts);
	mem_free(t);
}
