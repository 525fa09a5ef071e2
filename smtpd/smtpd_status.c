/* Questions of porterctl to the process. */
#include "smtpd/smtpd_status.h"

#include <errno.h>

#include "base/clock.h"
#include "base/text.h"
#include "maps/map.h"
#include "smtpd/harvest_question.h"
#include "smtpd/usage_check.h"
#include "smtpd/peer.h"

static void add_count(struct buf *out, const char *name, uint64_t n)
{
	buf_addf(out, ",\"%s\":%llu", name, (unsigned long long)n);
}

static int status(struct smtpd *d, struct buf *out)
{
	const struct smtpd_counts *c = &d->counts;
	buf_addf(out, "{\"open_sessions\":%zu", d->session_count);
	add_count(out, "sessions", c->sessions);
	add_count(out, "sessions_refused", c->refused_sessions);
	add_count(out, "sessions_tls", c->tls_sessions);
	add_count(out, "transactions", c->transactions);
	add_count(out, "taken", c->taken);
	add_count(out, "deferred", c->later);
	add_count(out, "refused", c->refused);
	add_count(out, "recipients", c->recipients);
	add_count(out, "recipients_unknown", c->unknown_recipients);
	add_count(out, "bytes", c->bytes);
	add_count(out, "smuggling", c->smuggling);
	add_count(out, "syntax_errors", c->syntax_errors);
	add_count(out, "lost_replies", c->lost_replies);
	clock_watch_leap(&d->clock);
	add_count(out, "clock_doubt_s", clock_watch_doubt_s(&d->clock));
	add_count(out, "maps_generation", d->maps ? map_set_generation(d->maps) : 0);
	buf_addf(out, ",\"tls\":%s,\"mailbox_up\":%s,\"draining\":%s}", d->tls ? "true" : "false", peer_is_up(d->mailbox) ? "true" : "false",
	         d->draining ? "true" : "false");
	return 0;
}

int smtpd_question(struct smtpd *d, const struct slice *words, size_t count, struct buf *answer)
{
	if (count == 1 && slice_eq(words[0], SLICE("status")))
		return status(d, answer);
	if (count && slice_eq(words[0], SLICE("usage")))
		return usage_question(words, count, answer);
	if (count > 1 && slice_eq(words[0], SLICE("harvest")))
		return harvest_question(d, words, count, answer);
	return -ENOSYS;
}
