/* Messages that we write ourselves and nobody's mail gave rise to: the daily digest, and the page's letter that asks a postmaster to agree to a check. Both have the null
 * reverse-path, so nothing ever comes back for them, and are signed like reports. */
#include "queue/own_mail.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/unique.h"
#include "queue/report.h"

enum { MAX_LETTER = 16 << 10, MAX_LETTERS_A_DAY = 200, MAX_TEXTS = 4, MAX_NAME = 512, DAY_S = 86400 };

void own_mail_send(struct queue *q, const struct own_mail *m)
{
	struct unique id = unique_new();
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf text = BUF_INIT(4 * m->text.n + 4096);
	int64_t now = clock_wall_s();
	report_write_head(&text, &(struct report_head){ .host = q->host, .from = slice_of(q->postmaster_text), .to = m->to, .id = unique_slice(&id), .subject = m->subject, .now_s = now,
	                                                .auto_submitted = "auto-generated" });
	report_write_text(&text, m->text);
	struct envelope_recipient recipient = queue_address(q, m->to, &mem);
	struct envelope e = { .id = unique_slice(&id), .arrived_s = now, .expires_s = queue_expiry(now),
		              .evidence = { EVIDENCE_LOCAL, SLICE("porter"), m->what }, .reverse_path = SLICE(""), .report = true, .client = SLICE("local"),
		              .transaction = unique_slice(&id), .sign = true, .recipients = &recipient, .recipient_count = 1 };
	queue_post(q, &e, &text, NULL, NULL);
	buf_free(&text);
	arena_free(&mem);
}

/* The page's letter ------------------------------------------------------------------------------------------------------------------- */

struct letter {
	struct slice domain, host, link, asker;
};

/* What the page's process says is a stranger's words at best: names and a link, one line each, and the address is made here. */
static bool read_letter(struct slice payload, struct arena *mem, struct letter *out)
{
	struct slice *texts;
	size_t count;
	if (queue_get_texts(payload, MAX_TEXTS, mem, &texts, &count) || count != MAX_TEXTS)
		return false;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < texts[i].n; k++)
			if (texts[i].n > MAX_NAME || (unsigned char)texts[i].p[k] <= ' ' || (unsigned char)texts[i].p[k] > '~')
				return false;
	*out = (struct letter){ texts[0], texts[1], texts[2], texts[3] };
	return out->domain.n && out->link.n;
}

static void write_letter(struct buf *out, const struct letter *l, struct slice host)
{
	buf_addf(out, "To the postmaster of %.*s:\r\n\r\n"
	              "Somebody (from the network %.*s) has asked this server, %.*s, to look whether the\r\n"
	              "mail server of your domain returns spam to forged senders (backscatter, the reverse\r\n"
	              "NDR attack).", SLICE_FMT(l->domain), SLICE_FMT(l->asker), SLICE_FMT(host));
	if (l->host.n)
		buf_addf(out, " It would be asked at %.*s.", SLICE_FMT(l->host));
	buf_addf(out, "\r\n\r\nThe check sends about twenty small marked messages and looks what comes back. It\r\n"
	              "begins only if you agree, by this link and a click on the page behind it:\r\n\r\n"
	              "  %.*s\r\n\r\n"
	              "If you don't want it, do nothing. No reminder follows.\r\n", SLICE_FMT(l->link));
}

/* A stranger decides that one is written, so their number has an end of its own beside the page's limits. */
static bool may_write(struct queue *q)
{
	int64_t day = clock_wall_s() / DAY_S;
	if (q->letters_day != day)
		q->letters = 0;
	q->letters_day = day;
	return q->letters < MAX_LETTERS_A_DAY;
}

int own_mail_letter(struct peer *p, struct ipc_message *m)
{
	struct queue *q = p->queue;
	struct arena mem = ARENA_INIT(MAX_LETTER);
	struct letter l;
	if (!read_letter(m->payload, &mem, &l)) {
		arena_free(&mem);
		return -EPROTO;
	}
	struct buf to = BUF_INIT(MAX_NAME + 16), subject = BUF_INIT(MAX_NAME + 64), text = BUF_INIT(MAX_LETTER);
	bool may = may_write(q);
	if (may) {
		q->letters++;
		buf_addf(&to, "postmaster@%.*s", SLICE_FMT(l.domain));
		buf_addf(&subject, "May the mail server of %.*s be checked for backscatter?", SLICE_FMT(l.domain));
		write_letter(&text, &l, q->host);
		own_mail_send(q, &(struct own_mail){ buf_slice(&to), buf_slice(&subject), buf_slice(&text), SLICE("the page's letter to a postmaster") });
	}
	log_event(may ? LOG_INFO : LOG_WARN, may ? "letter-written" : "letter-withheld", LOG_STR("domain", l.domain), LOG_STR("asker", l.asker), LOG_END);
	buf_free(&to);
	buf_free(&subject);
	buf_free(&text);
	arena_free(&mem);
	return 0;
}
