/* The check `dnsbl`: lists are asked as the client connects and their answers awaited at the first RCPT. */
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "smtpd/dnsbl.h"
#include "smtpd/filter_settings.h"
#include "smtpd/smtpd.h"

enum { PATIENCE_MS = 8000 };

static struct dnsbl_zone zones[DNSBL_MAX_ZONES];
static size_t zone_count;

struct score;
struct ask {
	struct score *score;
	size_t zone;
};

struct score {
	struct check *check;
	struct ask asks[DNSBL_MAX_ZONES];
	struct dns_query *queries[DNSBL_MAX_ZONES];
	bool listed[DNSBL_MAX_ZONES];
	size_t open;
	bool asked, waiting, told;
	struct loop_timer *timer;
};

static void start(struct smtpd *d)
{
	struct slice list = filter_settings.dnsbl_zones;
	(void)d;
	for (zone_count = 0; list.n && zone_count < DNSBL_MAX_ZONES;) {
		struct slice item = slice_cut(list, ' ', &list);
		if (item.n && dnsbl_zone_parse(item, &zones[zone_count]))
			zone_count++;
	}
}

static int64_t total(const struct score *s)
{
	const struct session_facts *f = check_facts(s->check);
	int64_t sum = 0;
	for (size_t i = 0; i < zone_count; i++)
		sum += s->listed[i] ? zones[i].weight : 0;
	if (f->nameless)
		sum += (int64_t)filter_settings.score_no_name;
	if (dnsbl_helo_is_bad(f->helo, general_settings.hostname))
		sum += (int64_t)filter_settings.score_bad_helo;
	return sum;
}

static bool reaches(int64_t sum, uint64_t limit)
{
	return limit && sum >= (int64_t)limit;
}

static void tell(struct score *s, int64_t sum)
{
	const struct session_facts *f = check_facts(s->check);
	struct buf names = BUF_INIT(1000);
	for (size_t i = 0; i < zone_count; i++)
		if (s->listed[i])
			buf_addf(&names, names.n ? " %.*s" : "%.*s", SLICE_FMT(zones[i].zone));
	if (!s->told && (sum > 0 || names.n)) {
		struct buf text = BUF_INIT(32);
		buf_addf(&text, "%lld", (long long)sum);
		log_event(LOG_INFO, "score", LOG_STR("session", unique_slice(&f->id)), LOG_CSTR("client", f->ip_text), LOG_STR("score", buf_slice(&text)),
		          LOG_STR("lists", buf_slice(&names)), LOG_END);
		buf_free(&text);
	}
	s->told = true;
	buf_free(&names);
}

/* postmaster and abuse hear those who are refused (RFC 5321, 4.5.1; RFC 2142). */
static bool is_spared(const struct recipient *r)
{
	return slice_eq_nocase(r->path.local_part, SLICE("postmaster")) || slice_eq_nocase(r->path.local_part, SLICE("abuse"));
}

static enum check_step decide(struct score *s)
{
	int64_t sum = total(s);
	tell(s, sum);
	if (reaches(sum, filter_settings.score_tag))
		check_tag(s->check, SLICE("score"));
	if (reaches(sum, filter_settings.score_greylist))
		check_tag(s->check, SLICE("greylist"));
	if (!reaches(sum, filter_settings.score_refuse) || is_spared(check_recipient(s->check)))
		return CHECK_GO_ON;
	check_refuse(s->check, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Your address is listed, or has no good name; postmaster here can be written to"));
	return CHECK_REFUSE;
}

static void forget_questions(struct score *s)
{
	for (size_t i = 0; i < zone_count; i++) {
		dns_cancel(s->queries[i]);
		s->queries[i] = NULL;
	}
	s->open = 0;
	loop_timer_stop(s->timer);
}

static void go_on(struct score *s)
{
	if (!s->waiting)
		return;
	s->waiting = false;
	check_answer(s->check, decide(s));
}

static void out_of_time(void *arg)
{
	forget_questions(arg);
	go_on(arg);
}

static void answered(void *arg, const struct dns_answer *a)
{
	struct ask *ask = arg;
	struct score *s = ask->score;
	s->queries[ask->zone] = NULL;
	s->listed[ask->zone] = dnsbl_lists(&zones[ask->zone], a);
	if (--s->open == 0) {
		loop_timer_stop(s->timer);
		go_on(s);
	}
}

static void ask_all(struct score *s)
{
	struct smtpd *d = check_smtpd(s->check);
	s->asked = true;
	for (size_t i = 0; d->dns && i < zone_count; i++) {
		struct buf name = BUF_INIT(300);
		s->asks[i] = (struct ask){ s, i };
		if (dnsbl_name(&check_facts(s->check)->ip, zones[i].zone, &name)) {
			s->queries[i] = dns_ask(d->dns, DNS_A, buf_slice(&name), answered, &s->asks[i]);
			s->open++;
		}
		buf_free(&name);
	}
	if (s->open)
		loop_timer_set(s->timer, PATIENCE_MS);
}

static void *begin(struct check *c)
{
	const struct session_facts *f = check_facts(c);
	bool idle = !zone_count && !filter_settings.score_no_name && !filter_settings.score_bad_helo;
	if (idle || f->exempt || f->listener != LISTENER_MX)
		return NULL;
	struct score *s = MEM_NEW(struct score);
	s->check = c;
	s->timer = loop_timer_new(check_smtpd(c)->loop, out_of_time, s);
	return s;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct score *s = state;
	(void)c;
	if (!s->asked)
		ask_all(s);
	if (stage != CHECK_RCPT || check_facts(s->check)->login.n)
		return CHECK_GO_ON;
	s->waiting = s->open > 0;
	return s->waiting ? CHECK_WAIT : decide(s);
}

static void cancel(void *state, struct check *c)
{
	struct score *s = state;
	(void)c;
	s->waiting = false;
}

static void end(void *state)
{
	struct score *s = state;
	forget_questions(s);
	loop_timer_free(s->timer);
	mem_free(s);
}

const struct check_kind dnsbl_check = { .name = "dnsbl", .start = start, .begin = begin, .run = run, .cancel = cancel, .end = end };
