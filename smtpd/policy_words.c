/* The words of Postfix's policy protocol. */
#include <errno.h>

#include "base/text.h"
#include "smtpd/policy_service.h"

/* One line each, whatever stands in a value. */
static void add(struct buf *out, const char *name, struct slice value)
{
	buf_add_cstr(out, name);
	buf_add_byte(out, '=');
	for (size_t i = 0; i < value.n; i++)
		buf_add_byte(out, (unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f ? '?' : value.p[i]);
	buf_add_byte(out, '\n');
}

static void add_number(struct buf *out, const char *name, uint64_t n)
{
	buf_addf(out, "%s=%llu\n", name, (unsigned long long)n);
}

static void add_transaction(struct buf *out, const struct transaction_facts *t, const struct recipient *r)
{
	add(out, "sender", t->sender);
	add(out, "recipient", r ? r->address : t->recipient_count == 1 ? t->recipients[0]->address : SLICE(""));
	add_number(out, "recipient_count", t->recipient_count);
	add(out, "queue_id", unique_slice(&t->id));
	add(out, "instance", unique_slice(&t->id));
}

void policy_question(struct buf *out, const struct session_facts *f, const char *state, const struct recipient *r, uint64_t size)
{
	struct slice name = f->reverse_name.n ? f->reverse_name : SLICE("unknown");
	add(out, "request", SLICE("smtpd_access_policy"));
	add(out, "protocol_state", slice_of(state));
	add(out, "protocol_name", f->esmtp ? SLICE("ESMTP") : SLICE("SMTP"));
	add(out, "client_address", slice_of(f->ip_text));
	add(out, "client_name", name);
	add(out, "reverse_client_name", name);
	add_number(out, "client_port", net_address_port(&f->peer));
	add(out, "helo_name", f->helo);
	if (f->transaction)
		add_transaction(out, f->transaction, r);
	add_number(out, "size", size);
	add(out, "sasl_method", f->login_mechanism);
	add(out, "sasl_username", f->login);
	add(out, "sasl_sender", SLICE(""));
	add(out, "encryption_protocol", slice_of(f->tls_protocol));
	add(out, "encryption_cipher", slice_of(f->tls_cipher));
	buf_add_byte(out, '\n');
}

static bool is_code(struct slice word)
{
	return word.n == 3 && (word.p[0] == '4' || word.p[0] == '5') && text_is_digit((unsigned char)word.p[1]) && text_is_digit((unsigned char)word.p[2]);
}

static struct mail_status refusal(struct arena *mem, unsigned code, struct slice text, struct slice preset)
{
	struct mail_status s = mail_status_from_reply(mem, code, text.n ? text : preset);
	if (!s.enhanced[0])
		s.enhanced[0] = 7, s.enhanced[1] = 1;
	return s;
}

static void read_action(struct slice action, struct arena *mem, struct policy_answer *out)
{
	struct slice text, word = slice_cut(action, ' ', &text);
	text = slice_trim(text);
	*out = (struct policy_answer){ POLICY_REFUSE, MAIL_STATUS_OK, text };
	if (is_code(word))
		out->status = refusal(mem, (unsigned)((word.p[0] - '0') * 100 + (word.p[1] - '0') * 10 + word.p[2] - '0'), text, SLICE("Refused by policy"));
	else if (slice_eq_nocase(word, SLICE("REJECT")))
		out->status = refusal(mem, 554, text, SLICE("Refused by policy"));
	else if (slice_eq_nocase(word, SLICE("DISCARD")))
		out->status = refusal(mem, 554, text, SLICE("Refused by policy: it would be dropped"));
	else if (slice_eq_nocase(word, SLICE("DEFER")) || slice_eq_nocase(word, SLICE("DEFER_IF_PERMIT")))
		out->status = refusal(mem, 450, text, SLICE("Try again later"));
	else if (slice_eq_nocase(word, SLICE("PREPEND")))
		out->action = POLICY_ADD_FIELD;
	else if (slice_eq_nocase(word, SLICE("HOLD")))
		out->action = POLICY_HOLD;
	else if (slice_eq_nocase(word, SLICE("DUNNO")) || slice_eq_nocase(word, SLICE("OK")) || slice_eq_nocase(word, SLICE("DEFER_IF_REJECT")) ||
	         slice_eq_nocase(word, SLICE("WARN")) || slice_eq_nocase(word, SLICE("INFO")))
		out->action = POLICY_PASS;
	else
		*out = (struct policy_answer){ POLICY_UNKNOWN, MAIL_STATUS_OK, word };
}

int policy_answer_read(struct slice in, struct arena *mem, struct policy_answer *out, size_t *used)
{
	struct slice rest = in, action = SLICE_NONE;
	while (rest.n) {
		size_t n = slice_find(rest, '\n');
		if (n == rest.n)
			break;
		struct slice line = slice_trim(slice_head(rest, n));
		rest = slice_skip(rest, n + 1);
		if (line.n && slice_starts_nocase(line, SLICE("action=")) && !action.p)
			action = slice_trim(slice_skip(line, 7));
		if (line.n)
			continue;
		if (!action.n)
			return -EPROTO;
		read_action(action, mem, out);
		*used = in.n - rest.n;
		return 1;
	}
	return in.n >= POLICY_MAX_ANSWER ? -EPROTO : 0;
}
