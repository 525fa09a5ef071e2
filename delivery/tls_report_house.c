/* Days that are over, one domain after another, with a pause between: nobody waits for them. */
#include "delivery/tls_report_house.h"

#include <fcntl.h>
#include <stdio.h>
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

enum { LOOK_MS = 600000, NEXT_MS = 2000, MAX_JSON = 64 << 10, DAY_S = 86400, FIRST_HELPER = 1 << 30 };

struct tls_report_house {
	struct house *house;
	struct dns *dns;
	struct tls_report *counts;
	struct loop_timer *timer;
	struct dns_query *asked;
	struct tls_report_day day;     /* the one that is being told */
	uint64_t helpers;
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

static int start_helper(struct tls_report_house *t, struct slice id, const struct slice *places, size_t count, struct slice json)
{
	char drop[4200], first[24], last[24];
	struct slice words[8 + TLS_REPORT_PLACES];
	int fds[2], error = ipc_pair(fds);
	if (error)
		return error;
	snprintf(drop, sizeof drop, "%.*s/drop", SLICE_FMT(general_settings.spool_directory));
	snprintf(first, sizeof first, "%llu", (unsigned long long)t->day.day * DAY_S);
	snprintf(last, sizeof last, "%llu", ((unsigned long long)t->day.day + 1) * DAY_S - 1);
	words[0] = slice_of(drop), words[1] = tls_policy_settings.report_from, words[2] = general_settings.hostname, words[3] = tls_settings.roots;
	words[4] = slice_of(t->day.domain), words[5] = id, words[6] = slice_of(first), words[7] = slice_of(last);
	for (size_t i = 0; i < count; i++)
		words[8 + i] = places[i];
	fcntl(fds[1], F_SETFL, 0);
	error = house_helper(t->house, FIRST_HELPER + t->helpers++, SLICE("tls-report"), SLICE_NONE, SLICE_NONE, words, 8 + count, fds[1]);
	close(fds[1]);
	error = error ? error : ipc_send_blocking(fds[0], TLS_REPORT_TEXT, 1, json, -1); /* a frame of some KiB, which the socket takes */
	close(fds[0]);
	return error;
}

static void got_record(void *arg, const struct dns_answer *a)
{
	struct tls_report_house *t = arg;
	struct slice places[TLS_REPORT_PLACES];
	struct buf json = BUF_INIT(MAX_JSON), report_id = BUF_INIT(400);
	struct unique id = unique_new();
	size_t count = find_places(a, places);
	t->asked = NULL;
	buf_addf(&report_id, "%.*s@%.*s", SLICE_FMT(unique_slice(&id)), SLICE_FMT(general_settings.hostname));
	tls_report_json(&t->day, general_settings.hostname, tls_policy_settings.report_from, buf_slice(&report_id), &json);
	if (count && !buf_full(&json)) {
		int error = start_helper(t, buf_slice(&report_id), places, count, buf_slice(&json));
		log_event(error ? LOG_WARN : LOG_INFO, "tls-report", LOG_STR("domain", slice_of(t->day.domain)), LOG_STR("to", places[0]), LOG_UINT("good", t->day.good),
		          LOG_UINT("bad", t->day.bad), error ? LOG_ERRNO(error) : LOG_END, LOG_END);
	}
	buf_free(&json);
	buf_free(&report_id);
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
	tls_report_free(t->counts);
	mem_free(t);
}
