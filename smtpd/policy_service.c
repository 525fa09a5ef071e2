/* The check `policy`: services are asked one after the other, over connections that a process keeps. One that was idle may have been closed by its service just as it is used
 * again: such a question is asked once more on a new one. */
#include "smtpd/policy_service.h"

#include <errno.h>

#include "base/log.h"
#include "base/mail_header.h"
#include "base/mem.h"
#include "smtpd/filter_service.h"
#include "smtpd/filter_settings.h"
#include "smtpd/smtpd.h"

enum { MAX_IDLE = 8, IDLE_MS = 100000, MAX_QUESTION = 32 << 10 };

static struct filter_service services[FILTER_MAX_SERVICES];
static size_t service_count;

struct asker;
struct link {
	struct conn *conn;
	size_t service;
	struct asker *asker;         /* NULL: idle */
	struct link *next;           /* of the idle ones */
};

static struct link *idle[FILTER_MAX_SERVICES];
static size_t idle_count[FILTER_MAX_SERVICES];

struct asker {
	struct check *check;
	size_t at;                   /* which service's turn it is */
	enum check_stage stage;
	struct link *link;
	struct filter_dial *dial;
	struct loop_timer *timer;
	bool used_before;            /* the connection in hand was idle */
	bool waiting;
};

static const char *const states[] = { "CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END-OF-MESSAGE" };

static enum check_step go_on(struct asker *a);

/* -- connections ------------------------------------------------------------------------------------------------------------------------------ */

static void drop(struct link *l)
{
	for (struct link **at = &idle[l->service]; *at; at = &(*at)->next)
		if (*at == l) {
			*at = l->next;
			idle_count[l->service]--;
			break;
		}
	if (l->asker)
		l->asker->link = NULL;
	conn_free(l->conn);
	mem_free(l);
}

static void put_back(struct link *l)
{
	l->asker->link = NULL;
	l->asker = NULL;
	if (idle_count[l->service] == MAX_IDLE) {
		drop(l);
		return;
	}
	conn_set_timeout(l->conn, IDLE_MS);
	l->next = idle[l->service];
	idle[l->service] = l;
	idle_count[l->service]++;
}

static struct link *take_idle(struct asker *a)
{
	struct link *l = idle[a->at];
	if (!l)
		return NULL;
	idle[a->at] = l->next;
	idle_count[a->at]--;
	l->asker = a;
	conn_set_timeout(l->conn, 0);
	return l;
}

/* -- answers ---------------------------------------------------------------------------------------------------------------------------------- */

static void settle(struct asker *a, enum check_step step)
{
	loop_timer_stop(a->timer);
	if (step == CHECK_GO_ON) {
		a->at++;
		step = go_on(a);
	}
	if (step == CHECK_WAIT || !a->waiting)
		return;
	a->waiting = false;
	check_answer(a->check, step);
}

static enum check_step refuse(struct asker *a, struct mail_status status)
{
	check_refuse(a->check, status);
	return CHECK_REFUSE;
}

static enum check_step down(struct asker *a, const char *why)
{
	const struct filter_service *s = &services[a->at];
	log_event(LOG_WARN, "policy-down", LOG_STR("session", unique_slice(&check_facts(a->check)->id)), LOG_STR("service", s->name), LOG_CSTR("why", why),
	          LOG_CSTR("then", s->accept_when_down ? "accept" : "defer"), LOG_END);
	if (s->accept_when_down)
		return CHECK_GO_ON;
	return refuse(a, MAIL_STATUS(MAIL_LATER, 451, 7, 1, "A policy service can't be asked just now; try again later"));
}

/* A service that hung up may be dialled again as its time ends. */
static void lose(struct asker *a, const char *why)
{
	filter_dial_cancel(a->dial);
	a->dial = NULL;
	if (a->link)
		drop(a->link);
	settle(a, down(a, why));
}

/* Before MAIL there is no message that a field or a hold could be for; nor is anything a field. False: it can't be done. */
static bool change(struct asker *a, const struct policy_answer *answer)
{
	struct slice value, name = slice_cut(answer->text, ':', &value);
	bool hold = answer->action == POLICY_HOLD;
	if (!check_facts(a->check)->transaction || (!hold && (!value.p || !mail_field_name_is_good(name))))
		return false;
	if (hold)
		check_quarantine(a->check, answer->text.n ? answer->text : SLICE("held by policy"));
	else
		check_add_field(a->check, name, slice_trim(value));
	return true;
}

static enum check_step do_action(struct asker *a, const struct policy_answer *answer)
{
	const struct filter_service *s = &services[a->at];
	switch (answer->action) {
	case POLICY_PASS:
		return CHECK_GO_ON;
	case POLICY_ADD_FIELD:
	case POLICY_HOLD:
		if (change(a, answer))
			return CHECK_GO_ON;
		break;
	case POLICY_REFUSE:
		log_event(LOG_INFO, "policy-refuses", LOG_STR("session", unique_slice(&check_facts(a->check)->id)), LOG_STR("service", s->name),
		          LOG_UINT("code", answer->status.code), LOG_STR("text", answer->status.text), LOG_END);
		return refuse(a, answer->status);
	case POLICY_UNKNOWN:
		break;
	}
	log_event(LOG_ERROR, "policy-unknown-action", LOG_STR("session", unique_slice(&check_facts(a->check)->id)), LOG_STR("service", s->name), LOG_CSTR("at", states[a->stage]),
	          LOG_CSTR("wants", answer->action == POLICY_HOLD ? "HOLD" : answer->action == POLICY_ADD_FIELD ? "PREPEND" : ""), LOG_STR("action", answer->text), LOG_END);
	return refuse(a, MAIL_STATUS(MAIL_LATER, 451, 3, 5, "A policy service wants what this server can't do; its postmaster has been told"));
}

static void on_data(void *arg, struct conn *c)
{
	struct link *l = arg;
	struct asker *a = l->asker;
	struct arena mem = ARENA_INIT(POLICY_MAX_ANSWER * 2);
	struct policy_answer answer;
	size_t used;
	if (!a) {
		drop(l); /* it speaks without being asked */
		return;
	}
	int got = policy_answer_read(conn_input(c), &mem, &answer, &used);
	if (got > 0) {
		enum check_step step = do_action(a, &answer);
		conn_consume(c, used);
		if (conn_input(c).n)
			drop(l);
		else
			put_back(l);
		settle(a, step);
	} else if (got < 0) {
		lose(a, "an answer that is none");
	}
	arena_free(&mem);
}

static void dial(struct asker *a);

static void on_event(void *arg, struct conn *c, enum conn_event what)
{
	struct link *l = arg;
	struct asker *a = l->asker;
	(void)c, (void)what;
	drop(l);
	if (a && a->used_before)
		dial(a);
	else if (a)
		lose(a, "it hung up");
}

static const struct conn_handler handler = { on_data, on_event, NULL };

/* -- questions -------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t size_now(struct asker *a)
{
	const struct transaction_facts *t = check_facts(a->check)->transaction;
	return a->stage == CHECK_DOT ? check_message(a->check)->length : t ? t->announced : 0;
}

static void ask(struct asker *a)
{
	struct buf question = BUF_INIT(MAX_QUESTION);
	const struct recipient *r = a->stage == CHECK_RCPT ? check_recipient(a->check) : NULL;
	policy_question(&question, check_facts(a->check), states[a->stage], r, size_now(a));
	conn_write(a->link->conn, buf_slice(&question)); /* a failure is told by on_event */
	buf_free(&question);
	loop_timer_set(a->timer, services[a->at].timeout_ms);
}


static void dialled(void *arg, struct conn *c, const char *why)
{
	struct link *l = arg;
	struct asker *a = l->asker;
	a->dial = NULL;
	l->conn = c;
	if (c) {
		ask(a);
		return;
	}
	drop(l);
	lose(a, why);
}

static void dial(struct asker *a)
{
	static const struct conn_limits limits = { POLICY_MAX_ANSWER + 1, MAX_QUESTION };
	struct link *l = MEM_NEW(struct link);
	*l = (struct link){ .service = a->at, .asker = a };
	a->link = l;
	a->used_before = false;
	a->dial = filter_dial(check_smtpd(a->check), &services[a->at], &limits, &handler, l, dialled);
}

static bool is_due(const struct asker *a)
{
	return (int)services[a->at].at == (int)a->stage && !check_is_passed_by(a->check, services[a->at].name);
}

static enum check_step go_on(struct asker *a)
{
	while (a->at < service_count && !is_due(a))
		a->at++;
	if (a->at == service_count)
		return CHECK_GO_ON;
	a->link = take_idle(a);
	a->used_before = a->link != NULL;
	if (a->link)
		ask(a);
	else
		dial(a);
	return CHECK_WAIT;
}

static void out_of_time(void *arg)
{
	lose(arg, "no answer in time");
}

/* -- the check -------------------------------------------------------------------------------------------------------------------------------- */

static void start(struct smtpd *d)
{
	(void)d;
	const struct filter_service preset = { .at = FILTER_AT_RCPT, .timeout_ms = filter_settings.policy_timeout_s * 1000,
		.accept_when_down = slice_eq(filter_settings.policy_down, SLICE("accept")) };
	service_count = filter_services_read(filter_settings.policy_services, &preset, services, FILTER_MAX_SERVICES);
}

static void *begin(struct check *c)
{
	if (!service_count)
		return NULL;
	struct asker *a = MEM_NEW(struct asker);
	a->check = c;
	check_adds_fields(c);
	a->timer = loop_timer_new(check_smtpd(c)->loop, out_of_time, a);
	return a;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct asker *a = state;
	(void)c;
	a->stage = stage;
	a->at = 0;
	enum check_step step = go_on(a);
	a->waiting = step == CHECK_WAIT;
	return step;
}

static void cancel(void *state, struct check *c)
{
	struct asker *a = state;
	(void)c;
	a->waiting = false;
	loop_timer_stop(a->timer);
	filter_dial_cancel(a->dial);
	a->dial = NULL;
	if (a->link)
		drop(a->link);
}

static void end(void *state)
{
	struct asker *a = state;
	cancel(a, NULL);
	loop_timer_free(a->timer);
	mem_free(a);
}

const struct check_kind policy_check = { .name = "policy", .start = start, .begin = begin, .run = run, .cancel = cancel, .end = end };
