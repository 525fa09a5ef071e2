/* What EHLO offers, and how MAIL and RCPT say what was agreed on. Keywords that we don't know are read over; parameters are written from decoded values,
 * so that nothing of a stranger's spelling goes on. */
#include "delivery/client_offer.h"

#include "base/mail_param.h"
#include "base/mail_path.h"
#include "base/scan.h"
#include "base/text.h"
#include "queue/envelope.h"

static void read_limits(struct slice words, struct client_offer *o)
{
	while (words.n) {
		struct slice word = slice_cut(words, ' ', &words);
		if (scan_word(&word, SLICE("RCPTMAX=")))
			scan_uint_all(word, 1000000, &o->rcpt_max);
		else if (scan_word(&word, SLICE("MAILMAX=")))
			scan_uint_all(word, 1000000, &o->mail_max);
	}
}

static void read_auth(struct slice words, struct client_offer *o)
{
	while (words.n) {
		struct slice word = slice_cut(words, ' ', &words);
		o->auth_plain |= slice_eq_nocase(word, SLICE("PLAIN"));
		o->auth_login |= slice_eq_nocase(word, SLICE("LOGIN"));
	}
}

static void read_keyword(struct slice line, struct client_offer *o)
{
	const struct {
		struct slice name;
		bool *flag;
	} flags[] = {
		{ SLICE("PIPELINING"), &o->pipelining }, { SLICE("8BITMIME"), &o->eight_bit }, { SLICE("SMTPUTF8"), &o->utf8 },
		{ SLICE("CHUNKING"), &o->chunking }, { SLICE("STARTTLS"), &o->starttls }, { SLICE("DSN"), &o->dsn }, { SLICE("PRDR"), &o->prdr },
		{ SLICE("REQUIRETLS"), &o->require_tls }, { SLICE("DELIVERBY"), &o->deliver_by }, { SLICE("MT-PRIORITY"), &o->priority },
	};
	struct slice rest, name = slice_cut(slice_trim(line), ' ', &rest);
	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
		if (slice_eq_nocase(name, flags[i].name))
			*flags[i].flag = true;
	if (slice_eq_nocase(name, SLICE("SIZE"))) {
		o->size = true;
		scan_uint_all(slice_trim(rest), INT64_MAX, &o->size_limit);
	} else if (slice_eq_nocase(name, SLICE("DELIVERBY")))
		scan_uint_all(slice_trim(rest), INT32_MAX, &o->by_least_s);
	else if (slice_eq_nocase(name, SLICE("LIMITS")))
		read_limits(rest, o);
	else if (slice_eq_nocase(name, SLICE("AUTH")))
		read_auth(rest, o);
}

void client_offer_read(const struct mail_reply *r, struct client_offer *out)
{
	*out = (struct client_offer){ .esmtp = true };
	for (size_t i = 1; i < r->count; i++) /* the first line greets */
		read_keyword(r->lines[i], out);
}

/* RFC 2852, 4: what is left of the time, in nine digits. */
static void add_by(struct buf *out, const struct client_mail *m)
{
	int64_t most = 999999999, s = m->by_s > most ? most : m->by_s < -most ? -most : m->by_s;
	buf_addf(out, " BY=%lld;%c%s", (long long)s, m->by_mode, m->by_trace ? "T" : "");
}

/* Whatever it is, it ends at our ">": what can't stand there as it is (a map's key, say, whose local-part has no quotes) is quoted. */
static void add_path(struct buf *out, struct slice text)
{
	struct arena mem = ARENA_INIT(64 << 10);
	struct mail_path p;
	const char *why;
	size_t at = slice_rfind(text, '@');
	bool good = !text.n || mail_path_parse_address(text, &mem, &p, &why) == 0;
	if (good || at == text.n) {
		for (size_t i = 0; i < text.n; i++)
			if (good || !strchr(" <>\"\\\r\n", text.p[i] ? text.p[i] : ' '))
				buf_add_byte(out, text.p[i]);
	} else {
		p = (struct mail_path){ .local_part = slice_head(text, at), .domain = slice_skip(text, at + 1) };
		mail_path_print(out, &p);
	}
	arena_free(&mem);
}

void client_offer_mail(struct buf *out, const struct client_mail *m, const struct client_offer *o)
{
	buf_add(out, SLICE("MAIL FROM:<"));
	add_path(out, m->reverse_path);
	buf_add_byte(out, '>');
	if (o->size && m->size)
		buf_addf(out, " SIZE=%llu", (unsigned long long)m->size);
	if (o->eight_bit && m->eight_bit)
		buf_add(out, SLICE(" BODY=8BITMIME"));
	if (o->utf8 && m->utf8)
		buf_add(out, SLICE(" SMTPUTF8"));
	if (o->require_tls && m->require_tls)
		buf_add(out, SLICE(" REQUIRETLS"));
	if (o->prdr && m->prdr)
		buf_add(out, SLICE(" PRDR"));
	if (o->dsn && m->ret)
		buf_add(out, m->ret == 'F' ? SLICE(" RET=FULL") : SLICE(" RET=HDRS"));
	if (o->dsn && m->envelope_id.n) {
		buf_add(out, SLICE(" ENVID="));
		text_add_xtext(out, m->envelope_id);
	}
	if (o->deliver_by && m->by_mode)
		add_by(out, m);
	if (o->priority && m->priority)
		buf_addf(out, " MT-PRIORITY=%d", m->priority);
}

static void add_notify(struct buf *out, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = { { NOTIFY_NEVER, "NEVER" }, { NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" }, { NOTIFY_DELAY, "DELAY" } };
	const char *before = " NOTIFY=";
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (notify & words[i].bit) {
			buf_addf(out, "%s%s", before, words[i].word);
			before = ",";
		}
}

void client_offer_rcpt(struct buf *out, struct slice address, struct slice original, unsigned notify, bool utf8, const struct client_offer *o)
{
	buf_add(out, SLICE("RCPT TO:<"));
	add_path(out, address);
	buf_add_byte(out, '>');
	if (!o->dsn)
		return;
	add_notify(out, notify);
	if (slice_find(original, ';') < original.n) {
		buf_add(out, SLICE(" ORCPT="));
		mail_param_add_orcpt(out, original, utf8);
	}
}
