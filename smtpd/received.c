/* Trace fields. Whatever the client said is written in letters that can't be mistaken for structure. */
#include "smtpd/received.h"

#include "base/mail_date.h"
#include "base/text.h"

/* Names and literals stay, the rest becomes "?"; so does what is not ASCII, unless the message may hold it in its header (RFC 6531) and it is UTF-8. */
static void add_tame(struct buf *out, struct slice s, bool utf8)
{
	s = slice_head(s, 255);
	utf8 = utf8 && text_is_utf8(s);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool good = text_is_alnum(c) || (utf8 && c >= 0x80) || (c && strchr(".-_:[]", c));
		buf_add_byte(out, good ? (char)c : '?');
	}
}

static void add_protocol(struct buf *out, const struct session_facts *f)
{
	if (!f->esmtp) {
		buf_add(out, SLICE("SMTP"));
		return;
	}
	buf_add(out, f->transaction->utf8 ? SLICE("UTF8SMTP") : SLICE("ESMTP"));
	if (f->tls)
		buf_add_byte(out, 'S');
	if (f->login.n)
		buf_add_byte(out, 'A');
}

static void add_end(struct buf *out, const struct transaction_facts *t, int64_t now_s)
{
	if (t->recipient_count == 1) {
		buf_add(out, SLICE("\r\n\tfor <"));
		buf_add(out, t->recipients[0]->address);
		buf_add_byte(out, '>');
	}
	if (t->priority) /* RFC 6710, 6 */
		buf_addf(out, "\r\n\tPRIORITY %d", t->priority);
	buf_add(out, SLICE(";\r\n\t"));
	mail_date_print_local(out, now_s);
	buf_add(out, SLICE("\r\n"));
}

/* From no client, but from a user of this system. */
static void local_print(struct buf *out, const struct session_facts *f, struct slice host, int64_t now_s)
{
	buf_add(out, SLICE("Received: by "));
	buf_add(out, host);
	buf_add(out, SLICE(" (Porter, from user "));
	add_tame(out, f->user, f->transaction->utf8);
	buf_add(out, SLICE(") id "));
	buf_add(out, unique_slice(&f->transaction->id));
	add_end(out, f->transaction, now_s);
}

void received_print(struct buf *out, const struct session_facts *f, struct slice host, int64_t now_s)
{
	const struct transaction_facts *t = f->transaction;
	if (f->user.n) {
		local_print(out, f, host, now_s);
		return;
	}
	buf_add(out, SLICE("Received: from "));
	add_tame(out, f->helo.n ? f->helo : SLICE("unknown"), t->utf8);
	buf_add(out, SLICE(" ("));
	if (f->reverse_name.n) {
		add_tame(out, f->reverse_name, t->utf8);
		buf_add_byte(out, ' ');
	}
	buf_add(out, f->ip.is_v4 ? SLICE("[") : SLICE("[IPv6:"));
	buf_add_cstr(out, f->ip_text);
	buf_add(out, SLICE("])\r\n\tby "));
	buf_add(out, host);
	buf_add(out, SLICE(" (Porter) with "));
	add_protocol(out, f);
	buf_add(out, SLICE(" id "));
	buf_add(out, unique_slice(&t->id));
	if (f->tls) {
		buf_add(out, SLICE("\r\n\t(using "));
		buf_add_cstr(out, f->tls_protocol ? f->tls_protocol : "TLS");
		buf_add(out, SLICE(" with cipher "));
		buf_add_cstr(out, f->tls_cipher ? f->tls_cipher : "unknown");
		buf_add_byte(out, ')');
	}
	add_end(out, t, now_s);
}

void return_path_print(struct buf *out, const struct transaction_facts *t)
{
	buf_add(out, SLICE("Return-Path: <"));
	buf_add(out, t->sender);
	buf_add(out, SLICE(">\r\n"));
}
