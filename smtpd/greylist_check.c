/* The check `greylist`. */
#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "smtpd/filter_settings.h"
#include "smtpd/greylist.h"
#include "smtpd/smtpd.h"

static struct greylist *table;

static void start(struct smtpd *d)
{
	const struct greylist_limits limits = { filter_settings.greylist_delay_s, filter_settings.greylist_window_s, filter_settings.greylist_keep_s };
	size_t size;
	void *memory = shared_map(d->house, SLICE("shared:greylist"), 0, &size);
	table = memory ? greylist_attach(memory, size, &limits) : NULL;
	if (!table)
		log_event(LOG_ERROR, "greylist-unusable", LOG_END);
}

static void *begin(struct check *c)
{
	const struct session_facts *f = check_facts(c);
	return table && !f->exempt && f->listener == LISTENER_MX ? c : NULL;
}

static bool is_wanted(const struct transaction_facts *t)
{
	for (size_t i = 0; i < t->tag_count; i++)
		if (slice_eq(t->tags[i], SLICE("greylist")))
			return true;
	return filter_settings.greylist_all;
}

/* A proven domain, or the client's network: big senders try again from another address of theirs. */
static void add_client(struct buf *out, const struct session_facts *f)
{
	const struct evidence *e = &f->transaction->evidence;
	struct net_ip ip = f->ip;
	if (e->grade >= EVIDENCE_SPF && e->who.n) {
		buf_add(out, slice_head(e->who, 300));
		return;
	}
	memset(ip.bytes + (ip.is_v4 ? 15 : 6), 0, ip.is_v4 ? 1 : 10);
	net_ip_print(out, &ip);
}

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	const struct session_facts *f = check_facts(c);
	(void)state;
	if (stage != CHECK_RCPT || f->login.n || f->transaction->evidence.grade >= EVIDENCE_CLIENT || !is_wanted(f->transaction))
		return CHECK_GO_ON;
	struct buf client = BUF_INIT(400);
	uint64_t wait = 0;
	add_client(&client, f);
	enum greylist_verdict verdict = greylist_look(table, buf_slice(&client), f->transaction->sender, check_recipient(c)->address, clock_wall_s(), &wait);
	buf_free(&client);
	if (verdict == GREYLIST_PASS)
		return CHECK_GO_ON;
	struct buf text = BUF_INIT(100);
	buf_addf(&text, "Greylisted: try again in %llu seconds", (unsigned long long)wait);
	struct mail_status status = MAIL_STATUS(MAIL_LATER, 451, 7, 1, "");
	status.text = buf_slice(&text);
	check_refuse(c, status);
	buf_free(&text);
	return CHECK_REFUSE;
}

static void end(void *state)
{
	(void)state;
}

const struct check_kind greylist_check = { .name = "greylist", .start = start, .begin = begin, .run = run, .end = end };
