/* Whose message it is, and what a repeat of it is known by: the digest of its content as it came, its Message-ID, and where it came from. */
#include "base/mail_header.h"
#include "smtpd/destination.h"
#include "smtpd/outcome.h"

enum { MAX_FIELDS = 2000, MAX_ID = 998, MAX_NETWORK = 64 };

static struct slice message_id_of(struct transaction *t)
{
	struct slice head = buf_slice(&transaction_message(t)->head);
	struct mail_field f;
	for (size_t i = 0; i < MAX_FIELDS; i++) {
		switch (mail_field_next(&head, &f)) {
		case MAIL_FIELD_END:
			return SLICE("");
		case MAIL_FIELD_BAD:
			break;
		case MAIL_FIELD:
			if (slice_eq_nocase(f.name, SLICE("Message-ID"))) {
				struct slice id = slice_trim(mail_field_unfold(&f, transaction_arena(t)));
				return id.n <= MAX_ID && slice_is_ascii(id) ? arena_copy(transaction_arena(t), id) : SLICE("");
			}
		}
	}
	return SLICE("");
}

/* The neighbourhood that a client may come back from: /24, or /48. */
static struct slice network_of(struct transaction *t)
{
	struct net_ip ip = transaction_session(t)->ip;
	struct buf b = BUF_INIT(MAX_NETWORK);
	unsigned kept = ip.is_v4 ? 15 : 6;
	for (unsigned i = kept; i < sizeof ip.bytes; i++)
		ip.bytes[i] = 0;
	net_ip_print(&b, &ip);
	buf_addf(&b, "/%u", ip.is_v4 ? 24 : 48);
	struct slice network = arena_copy(transaction_arena(t), buf_slice(&b));
	buf_free(&b);
	return network;
}

/* A domain that proved itself for this message, by SPF or DKIM. */
static struct slice domain_of(struct transaction *t)
{
	const struct evidence *e = &transaction_facts(t)->evidence;
	return e->grade == EVIDENCE_SPF || e->grade == EVIDENCE_DKIM ? e->who : SLICE("");
}

static struct slice or_none(struct slice s)
{
	return s.p ? s : SLICE("");
}

struct slice outcome_message_id(struct outcome *l)
{
	struct slice made = transaction_facts(l->transaction)->made_message_id;
	return made.n ? made : outcome_source(l)->message_id;
}

const struct ledger_source *outcome_source(struct outcome *l)
{
	struct transaction *t = l->transaction;
	if (l->source.digest.n) {
		l->source.domain = or_none(domain_of(t)); /* checks may have proven one since */
		return &l->source;
	}
	message_digest(transaction_message(t), l->digest);
	l->source = (struct ledger_source){ .reverse_path = transaction_facts(t)->sender, .digest = slice((const char *)l->digest, CRYPTO_SHA256),
		                            .message_id = or_none(message_id_of(t)), .network = or_none(network_of(t)), .domain = or_none(domain_of(t)) };
	return &l->source;
}

struct ledger_source outcome_copy_source(struct arena *mem, const struct ledger_source *s)
{
	return (struct ledger_source){ arena_copy(mem, s->reverse_path), arena_copy(mem, s->digest), arena_copy(mem, s->message_id), arena_copy(mem, s->network),
	                               arena_copy(mem, s->domain) };
}
