/* The check `usage` (queue/usage.h has the table), and what the postmaster asks about it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "queue/usage.h"
#include "smtpd/check.h"
#include "smtpd/smtpd.h"
#include "smtpd/usage_check.h"

enum { LISTED = 1000 };
static struct usage *table;

static void start(struct smtpd *d)
{
	table = usage_take(d->house);
}

static void *begin(struct check *c)
{
	return table && check_facts(c)->listener != LISTENER_MX ? c : NULL;
}

/* Which user, which limit, and that time helps. */
static enum check_step refuse(struct check *c, struct slice who, enum usage_window window, enum usage_what what)
{
	struct buf text = BUF_INIT(300);
	usage_words(&text, who, window, what);
	buf_add(&text, SLICE("; try again later"));
	struct mail_status s = what == USAGE_RECIPIENTS ? MAIL_STATUS(MAIL_LATER, 452, 7, 1, "") : MAIL_STATUS(MAIL_LATER, 451, 7, 1, "");
	s.text = buf_slice(&text);
	check_refuse(c, s); /* copied */
	buf_free(&text);
	return CHECK_REFUSE;
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	const struct session_facts *f = check_facts(c);
	struct buf local = BUF_INIT(USAGE_MAX_NAME);
	enum usage_window window;
	enum usage_what what;
	(void)state;
	if (stage != CHECK_MAIL && stage != CHECK_RCPT && stage != CHECK_DOT)
		return CHECK_GO_ON;
	if (!f->login.n) {
		buf_add(&local, SLICE("unix:"));
		buf_add(&local, slice_head(f->user, USAGE_MAX_NAME - 6));
	}
	struct slice who = f->login.n ? f->login : buf_slice(&local);
	size_t recipients = f->transaction->recipient_count + (stage == CHECK_RCPT);
	bool over = (f->login.n || f->user.n) && usage_over(table, who, &usage_limits, 1, recipients, stage == CHECK_DOT, clock_wall_s(), &window, &what);
	enum check_step step = over ? refuse(c, who, window, what) : CHECK_GO_ON;
	buf_free(&local);
	return step;
}

static void end(void *state)
{
	(void)state;
}

const struct check_kind usage_check = { .name = "usage", .start = start, .begin = begin, .run = run, .end = end };

/* -- the postmaster's question ------------------------------------------------------------------------------------------------------------ */

static void print_limit(struct buf *out, uint64_t count, uint64_t most)
{
	char text[48];
	if (most)
		snprintf(text, sizeof text, "%llu of %llu", (unsigned long long)count, (unsigned long long)most);
	else
		snprintf(text, sizeof text, "%llu", (unsigned long long)count);
	buf_addf(out, " %18s", text);
}

static void print_user(struct buf *out, const struct usage_user *u)
{
	buf_addf(out, "%-40s", u->name);
	for (int w = 0; w < USAGE_WINDOWS; w++)
		for (int k = 0; k < USAGE_WHATS; k++)
			print_limit(out, u->counts.of[w][k], usage_limits.of[w][k]);
	buf_add_byte(out, '\n');
}

static void print_json(struct buf *out, const struct usage_user *u, bool first)
{
	static const char *const names[USAGE_WINDOWS][USAGE_WHATS] = { { "messages_hour", "recipients_hour" }, { "messages_day", "recipients_day" } };
	buf_add_cstr(out, first ? "{\"user\":" : ",{\"user\":");
	text_add_json(out, slice_of(u->name));
	for (int w = 0; w < USAGE_WINDOWS; w++)
		for (int k = 0; k < USAGE_WHATS; k++)
			buf_addf(out, ",\"%s\":%llu,\"%s_limit\":%llu", names[w][k], (unsigned long long)u->counts.of[w][k], names[w][k], (unsigned long long)usage_limits.of[w][k]);
	buf_add_byte(out, '}');
}

int usage_question(const struct slice *words, size_t count, struct buf *answer)
{
	bool json = count > 1 && slice_eq(words[count - 1], SLICE("--json"));
	struct slice wanted = count - json > 1 ? words[1] : SLICE_NONE;
	struct usage_user *users = mem_new_array(LISTED, sizeof *users);
	size_t n = table ? usage_list(table, users, LISTED, clock_wall_s()) : 0, shown = 0;
	if (json)
		buf_add_byte(answer, '[');
	else
		buf_addf(answer, "%-40s %18s %18s %18s %18s\n", "user", "messages, hour", "recipients, hour", "messages, day", "recipients, day");
	for (size_t i = 0; i < n; i++) {
		if (wanted.n && !slice_eq_nocase(slice_of(users[i].name), wanted))
			continue;
		if (json)
			print_json(answer, &users[i], !shown);
		else
			print_user(answer, &users[i]);
		shown++;
	}
	if (json)
		buf_add_cstr(answer, "]\n");
	mem_free(users);
	return wanted.n && !shown ? 1 : 0;
}
