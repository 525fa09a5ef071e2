/* Days that are over, one domain after another, with a pause between: nobody waits for them. What a place did not take waits in the file of the counts. */
#include "delivery/tls_report_house.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/general_settings.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/shared.h"
#include "base/tls.h"
#include "base/unique.h"
#include "delivery/tls_policy_settings.h"

enum { LOOK_MS = 600000, NEXT_MS = 2000, MAX_JSON = 64 << 10, DAY_S = 86400, FIRST_HELPER = 1 << 30, LEASE_S = 120 /* longer than a helper may take */, SPREAD_S = 4 * 3600 };

struct tls_report_house {
	struct house *house;
	struct dns *dns;
	struct tls_report *counts;
	struct loop_timer *timer;
	struct dns_query *asked;
	struct tls_report_day day;     /* the one that is being told */
	size_t at;                     /* where it stands */
	uint32_t late_s;               /* how long after the day's end: or all houses told at midnight (8460, 4.1) */
	uint64_t helpers, telling[TLS_REPORT_TELLINGS]; /* who tells each of them; 0: nobody, or another process */
	struct loop_timer *again;
};

static bool find_over(struct tls_report_house *t, struct tls_report_day *d)
{
	return tls_report_over(t->counts, &t->at, clock_wall_s() - t->late_s, d);
}

/* One after another; from the first again after a while: there are new ones, and those whose record was not to be had. */
static void next(struct tls_report_house *t)
{
	struct tls_report_day d;
	bool more = find_over(t, &d);
	t->at = more ? t->at : 0;
	loop_timer_set(t->timer, more ? NEXT_MS : LOOK_MS);
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

static uint64_t *helper_of(struct tls_report_house *t, const struct tls_report_telling *x)
{
	size_t count;
	return &t->telling[x - tls_report_tellings(t->counts, &count)];
}

static int start_helper(struct tls_report_house *t, struct tls_report_telling *x)
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
	uint64_t helper = *helper_of(t, x) = FIRST_HELPER + t->helpers++;
	fcntl(fds[1], F_SETFL, 0);
	error = house_helper(t->house, helper, SLICE("tls-report"), SLICE_NONE, SLICE_NONE, words, sizeof words / sizeof *words, fds[1]);
	close(fds[1]);
	error = error ? error : ipc_send_blocking(fds[0], TLS_REPORT_TEXT, 1, buf_slice(&json), -1); /* a frame of some KiB, which the socket takes */
	close(fds[0]);
	buf_free(&json);
	return error;
}

static void forget(struct tls_report_house *t, struct tls_report_telling *x)
{
	*helper_of(t, x) = 0;
	x->began_s = 0;
}

static void lose(struct tls_report_house *t, struct tls_report_telling *x)
{
	log_event(LOG_WARN, "tls-report-lost", LOG_CSTR("domain", x->day.domain), LOG_CSTR("to", x->place), LOG_END);
	forget(t, x);
}

/* The pauses double; a day after the first try it is over (8460, 5.5). */
static void wait_for(struct tls_report_house *t, struct tls_report_telling *x)
{
	*helper_of(t, x) = 0;
	x->again_s = clock_wall_s() + (int64_t)x->pause_s;
	x->pause_s *= 2;
	if (x->again_s > x->began_s + DAY_S)
		lose(t, x);
	else
		log_event(LOG_WARN, "tls-report-waits", LOG_CSTR("domain", x->day.domain), LOG_CSTR("to", x->place), LOG_END);
}

static void set_again(struct tls_report_house *t)
{
	int64_t soonest = 0, now = clock_wall_s();
	size_t count;
	struct tls_report_telling *all = tls_report_tellings(t->counts, &count);
	for (size_t i = 0; i < count; i++)
		if (all[i].began_s && !t->telling[i] && (!soonest || all[i].again_s < soonest))
			soonest = all[i].again_s;
	if (soonest && t->again)
		loop_timer_set(t->again, soonest > now ? (uint64_t)(soonest - now < DAY_S ? soonest - now : DAY_S) * 1000 : 1000);
}

static void tell(struct tls_report_house *t, struct tls_report_telling *x)
{
	x->again_s = clock_wall_s() + LEASE_S; /* then whoever serves tells it, if we are dead */
	int error = start_helper(t, x);
	log_event(error ? LOG_WARN : LOG_INFO, "tls-report", LOG_CSTR("domain", x->day.domain), LOG_CSTR("to", x->place), LOG_UINT("good", x->day.good), LOG_UINT("bad", x->day.bad),
	          error ? LOG_ERRNO(error) : LOG_END, LOG_END);
	if (error)
		wait_for(t, x);
}

/* What came too late over a restart is lost, too. Where the clock was set back nothing waits longer than a day. */
static void tell_again(void *arg)
{
	struct tls_report_house *t = arg;
	size_t count;
	struct tls_report_telling *all = tls_report_tellings(t->counts, &count);
	int64_t now = clock_wall_s();
	for (size_t i = 0; i < count; i++) {
		struct tls_report_telling *x = &all[i];
		if (!x->began_s || t->telling[i] || (x->again_s > now && x->again_s <= now + DAY_S))
			continue;
		if (now > x->began_s + DAY_S || !tls_policy_settings.report_from.n)
			lose(t, x);
		else
			tell(t, x);
	}
	set_again(t);
}

void tls_report_house_done(struct tls_report_house *t, uint64_t id, int status)
{
	size_t count;
	struct tls_report_telling *all = tls_report_tellings(t->counts, &count);
	for (size_t i = 0; i < count; i++) {
		struct tls_report_telling *x = &all[i];
		if (t->telling[i] != id)
			continue;
		if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == TLS_REPORT_NOWHERE))
			forget(t, x);
		else
			wait_for(t, x);
		set_again(t);
		return;
	}
}

/* All of its places, or none yet: where there is no room now, and where the record could not be had, the day stays for a day or two more. */
static bool begin_all(struct tls_report_house *t, const struct dns_answer *a)
{
	struct slice places[TLS_REPORT_PLACES];
	struct buf id = BUF_INIT(TLS_REPORT_ID);
	struct unique mark = unique_new();
	size_t count = find_places(a, places);
	int64_t now = clock_wall_s();
	if (a->answer == UNSURE || count > tls_report_room(t->counts))
		return false;
	buf_addf(&id, "%.*s@%.*s", SLICE_FMT(unique_slice(&mark)), SLICE_FMT(general_settings.hostname));
	for (size_t i = 0; i < count; i++) {
		struct tls_report_telling *x = tls_report_begin(t->counts, &t->day, buf_slice(&id), places[i], now, tls_policy_settings.report_retry_s);
		if (x)
			tell(t, x);
	}
	buf_free(&id);
	return true;
}

static void got_record(void *arg, const struct dns_answer *a)
{
	struct tls_report_house *t = arg;
	bool begun = begin_all(t, a), late = clock_wall_s() / DAY_S > (int64_t)t->day.day + 2;
	t->asked = NULL;
	if (!begun && late)
		log_event(LOG_WARN, "tls-report-lost", LOG_CSTR("domain", t->day.domain), LOG_END);
	if (begun || late)
		tls_report_drop(t->counts, t->at);
	t->at++;
	set_again(t);
	next(t);
}

static void look(void *arg)
{
	struct tls_report_house *t = arg;
	char name[TLS_REPORT_NAME + 16];
	if (!find_over(t, &t->day)) {
		next(t);
		return;
	}
	if (!tls_policy_settings.report_from.n) {
		tls_report_drop(t->counts, t->at);
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
	crypto_random(&t->late_s, sizeof t->late_s);
	t->late_s %= SPREAD_S;
	t->timer = loop_timer_new(h->loop, look, t);
	t->again = loop_timer_new(h->loop, tell_again, t);
	loop_timer_set(t->timer, NEXT_MS);
	loop_timer_set(t->again, NEXT_MS);
	return t;
}

struct tls_report *tls_report_house_counts(struct tls_report_house *t)
{
	return t->counts;
}

void tls_report_house_stop(struct tls_report_house *t)
{
	dns_cancel(t->asked);
	t->asked = NULL;
	loop_timer_stop(t->timer);
	loop_timer_free(t->again);
	t->again = NULL;
}

void tls_report_house_free(struct tls_report_house *t)
{
	dns_cancel(t->asked);
	loop_timer_free(t->timer);
	loop_timer_free(t->again);
	tls_report_free(t->counts);
	mem_free(t);
}
