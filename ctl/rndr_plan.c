/* What is said for each way. A probe goes to fictitious addresses, to one known mailbox, or to addresses that the caller names, so the worst it does to
 * an organisation is one odd message in one mailbox for each way that needs a known recipient. */
#include "ctl/rndr_plan.h"

#include <sys/random.h>

#include "base/clock.h"
#include "base/mail_date.h"
#include "base/scan.h"
#include "base/text.h"

enum { FICTITIOUS = 9, LOOP_FIELDS = 120, MAX_CONTENT = 64 << 10 };

const struct rndr_way_row rndr_ways[RNDR_WAYS] = {
	[RNDR_UNKNOWN] = { SLICE_INIT("unknown"), SLICE_INIT("one recipient who does not exist"), SLICE_INIT("") },
	[RNDR_MIXED] = { SLICE_INIT("mixed"), SLICE_INIT("one recipient who exists and nine who do not"), SLICE_INIT("--known ADDRESS") },
	[RNDR_DEAD_ALIAS] = { SLICE_INIT("dead-alias"), SLICE_INIT("an alias that leads to nobody"), SLICE_INIT("--dead-alias ADDRESS") },
	[RNDR_FORWARD] = { SLICE_INIT("forward"), SLICE_INIT("a forward that the remote host refuses"), SLICE_INIT("--forward ADDRESS") },
	[RNDR_RELAYED] = { SLICE_INIT("relayed"), SLICE_INIT("nobody in a domain that is relayed"), SLICE_INIT("--relayed DOMAIN") },
	[RNDR_FULL] = { SLICE_INIT("full"), SLICE_INIT("a mailbox that is full"), SLICE_INIT("--full ADDRESS") },
	[RNDR_OVERSIZE] = { SLICE_INIT("oversize"), SLICE_INIT("a message past the size limit that does not say so"), SLICE_INIT("--known ADDRESS") },
	[RNDR_LOOP] = { SLICE_INIT("loop"), SLICE_INIT("a message with 120 Received fields"), SLICE_INIT("--known ADDRESS") },
	[RNDR_SUCCESS] = { SLICE_INIT("success-dsn"), SLICE_INIT("a stranger asks for a success report"), SLICE_INIT("--known ADDRESS") },
	[RNDR_INNER] = { SLICE_INIT("report"), SLICE_INIT("a report, with a null reverse-path, to be passed on to the victim"), SLICE_INIT("") },
	[RNDR_DELAY] = { SLICE_INIT("delay"), SLICE_INIT("a recipient whose next hop does not answer"), SLICE_INIT("--deferred ADDRESS") },
	[RNDR_REPLY] = { SLICE_INIT("auto-reply"), SLICE_INIT("a mailbox with a vacation message"), SLICE_INIT("--vacation ADDRESS") },
	[RNDR_NULL] = { SLICE_INIT("null-sender"), SLICE_INIT("a null reverse-path to one who does not exist"), SLICE_INIT("") },
	[RNDR_QUOTED] = { SLICE_INIT("quoted"), SLICE_INIT("one who does not exist, as a quoted local-part"), SLICE_INIT("") },
	[RNDR_SUBADDRESS] = { SLICE_INIT("subaddress"), SLICE_INIT("one who does not exist, with a subaddress"), SLICE_INIT("") },
	[RNDR_OUTCOMES] = { SLICE_INIT("outcomes"), SLICE_INIT("recipients whose outcomes differ, in one transaction"),
		            SLICE_INIT("--known and one of --forward, --full, --dead-alias ADDRESS") },
};

struct rndr_marks rndr_marks_new(void)
{
	struct rndr_marks m = { hash_key_random(), "" };
	struct hash_key random = hash_key_random();
	struct buf hex = BUF_INIT(RNDR_NONCE);
	text_add_hex(&hex, slice((const char *)&random.k0, sizeof random.k0));
	memcpy(m.nonce, hex.p, RNDR_NONCE);
	buf_free(&hex);
	return m;
}

static void add_mark(struct buf *out, const struct rndr_marks *m, enum rndr_way way)
{
	buf_addf(out, "rndr-%.*s-%s", SLICE_FMT(rndr_ways[way].word), m->nonce);
	uint64_t mac = hash_bytes(&m->key, buf_slice(out));
	buf_addf(out, "-%016llx", (unsigned long long)mac);
}

struct slice rndr_mark(const struct rndr_marks *m, enum rndr_way way, struct arena *mem)
{
	struct buf mark = BUF_INIT(128);
	add_mark(&mark, m, way);
	struct slice copy = arena_copy(mem, buf_slice(&mark));
	buf_free(&mark);
	return copy;
}

bool rndr_mark_read(const struct rndr_marks *m, struct slice probe_domain, struct slice path, enum rndr_way *way)
{
	size_t at = slice_rfind(path, '@');
	if (at == path.n || !slice_eq_nocase(slice_skip(path, at + 1), probe_domain))
		return false;
	for (size_t w = 0; w < RNDR_WAYS; w++) {
		struct buf mark = BUF_INIT(128);
		add_mark(&mark, m, (enum rndr_way)w);
		bool same = slice_eq_secret(buf_slice(&mark), slice_head(path, at));
		buf_free(&mark);
		if (same) {
			*way = (enum rndr_way)w;
			return true;
		}
	}
	return false;
}

/* Who the recipients are -------------------------------------------------------------------------------------------------------------- */

static struct slice joined(struct arena *mem, const char *format, struct slice a, struct slice b)
{
	struct buf text = BUF_INIT(1000);
	buf_addf(&text, format, SLICE_FMT(a), SLICE_FMT(b));
	struct slice copy = arena_copy(mem, buf_slice(&text));
	buf_free(&text);
	return copy;
}

static void add_recipient(struct probe_plan *p, struct slice address)
{
	if (address.n && p->recipient_count < PROBE_MAX_RECIPIENTS)
		p->recipients[p->recipient_count++] = address;
}

static void add_fictitious(struct probe_plan *p, const struct rndr_marks *m, struct arena *mem, struct slice domain, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct buf name = BUF_INIT(64);
		buf_addf(&name, "no-such-user-%u-%s", i, m->nonce);
		add_recipient(p, joined(mem, "%.*s@%.*s", buf_slice(&name), domain));
		buf_free(&name);
	}
}

static void add_outcomes(struct probe_plan *p, const struct rndr_addresses *a)
{
	if (!a->known.n || !(a->forward.n || a->full.n || a->dead_alias.n))
		return;
	add_recipient(p, a->known);
	add_recipient(p, a->forward);
	add_recipient(p, a->full);
	add_recipient(p, a->dead_alias);
}

static void add_recipients(const struct rndr_setup *s, const struct rndr_marks *m, enum rndr_way way, struct arena *mem, struct probe_plan *p)
{
	const struct rndr_addresses *a = &s->addresses;
	struct slice nonce = slice_of(m->nonce);
	switch (way) {
	case RNDR_UNKNOWN:
	case RNDR_NULL:
		return add_fictitious(p, m, mem, s->domain, 1);
	case RNDR_MIXED:
		add_recipient(p, a->known);
		if (a->known.n)
			add_fictitious(p, m, mem, s->domain, FICTITIOUS);
		return;
	case RNDR_DEAD_ALIAS:
		return add_recipient(p, a->dead_alias);
	case RNDR_FORWARD:
		return add_recipient(p, a->forward);
	case RNDR_RELAYED:
		if (a->relayed.n)
			add_fictitious(p, m, mem, a->relayed, 1);
		return;
	case RNDR_FULL:
		return add_recipient(p, a->full);
	case RNDR_OVERSIZE:
	case RNDR_LOOP:
	case RNDR_SUCCESS:
		return add_recipient(p, a->known);
	case RNDR_INNER:
		return add_recipient(p, joined(mem, "%.*s@%.*s", rndr_mark(m, way, mem), s->probe_domain));
	case RNDR_DELAY:
		return add_recipient(p, a->deferred);
	case RNDR_REPLY:
		return add_recipient(p, a->vacation);
	case RNDR_QUOTED:
		return add_recipient(p, joined(mem, "\"no such user %.*s\"@%.*s", nonce, s->domain));
	case RNDR_SUBADDRESS:
		return add_recipient(p, joined(mem, "no-such-user-%.*s+tag@%.*s", nonce, s->domain));
	case RNDR_OUTCOMES:
		return add_outcomes(p, a);
	}
}

/* What the message says --------------------------------------------------------------------------------------------------------------- */

static struct slice content_of(const struct rndr_setup *s, enum rndr_way way, struct slice mark, struct slice to, struct arena *mem)
{
	struct buf c = BUF_INIT(MAX_CONTENT);
	for (int i = 0; way == RNDR_LOOP && i < LOOP_FIELDS; i++)
		buf_addf(&c, "Received: from loop%d.invalid by loop%d.invalid; Thu, 1 Jan 1970 00:00:00 +0000\r\n", i, i + 1);
	buf_addf(&c, "From: <%.*s@%.*s>\r\nTo: <%.*s>\r\nSubject: Test of this mail server for backscatter (%.*s)\r\nDate: ", SLICE_FMT(mark),
	         SLICE_FMT(s->probe_domain), SLICE_FMT(to), SLICE_FMT(rndr_ways[way].word));
	mail_date_print(&c, clock_wall_s(), 0);
	buf_addf(&c, "\r\nMessage-ID: <%.*s@rndr-check.invalid>\r\nX-RNDR-Check: %.*s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
	         SLICE_FMT(mark), SLICE_FMT(mark));
	buf_addf(&c, "This message is a harmless test. Somebody who is responsible for %.*s asked whether its\r\n"
	             "mail server can be made to return spam to forged senders (a reverse NDR attack).\r\n"
	             "It may be deleted; nobody has to do anything.\r\n\r\n" RNDR_CANARY "\r\n", SLICE_FMT(s->domain));
	struct slice copy = arena_copy(mem, buf_slice(&c));
	buf_free(&c);
	return copy;
}

static const char *missing(enum rndr_way way, struct arena *mem)
{
	return arena_cstr(mem, joined(mem, "needs %.*s%.*s", rndr_ways[way].needs, SLICE_NONE));
}

const char *rndr_plan_make(const struct rndr_setup *s, const struct rndr_marks *m, enum rndr_way way, struct arena *mem, struct probe_plan *out)
{
	struct probe_plan p = { .target = s->target, .source = s->source.length ? &s->source : NULL, .helo = s->helo };
	add_recipients(s, m, way, mem, &p);
	if (!p.recipient_count)
		return missing(way, mem);
	struct slice mark = rndr_mark(m, way, mem);
	if (way != RNDR_NULL && way != RNDR_INNER)
		p.reverse_path = joined(mem, "%.*s@%.*s", mark, s->probe_domain);
	if (way == RNDR_SUCCESS)
		p.rcpt_parameters = SLICE(" NOTIFY=SUCCESS"); /* offered or not: who does not know it refuses it, as RFC 5321, 4.1.1.11 says */
	if (way == RNDR_OVERSIZE) {
		p.fill_past_limit = true;
		p.fill_max = s->fill_max ? s->fill_max : RNDR_FILL_MAX;
	}
	p.content = content_of(s, way, mark, p.recipients[0], mem);
	*out = p;
	return NULL;
}
