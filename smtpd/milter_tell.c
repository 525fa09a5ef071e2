/* What a milter is told at each step: macros and frames. Nothing here waits or decides; the body alone comes later, by the worker. */
#include "smtpd/milter_inside.h"

#include "base/clock.h"
#include "base/general_settings.h"
#include "base/mail_header.h"

enum { READ_AT_ONCE = 60000 };

static const struct session_facts *facts(const struct milter *m)
{
	return check_facts(m->check);
}

static enum wrote put_options(struct milter *m)
{
	milter_put_negotiate(&m->out, MILTER_ALL_ACTIONS, MILTER_ALL_OPTIONS);
	return WROTE;
}

/* -- macros -------------------------------------------------------------------------------------------------------------------------------- */

enum { MAX_MACROS = 16 };

struct macros {
	struct slice pairs[MAX_MACROS * 2];
	size_t count;                  /* of slices */
	struct buf name, port;
};

static void know(struct macros *all, const char *name, struct slice value)
{
	all->pairs[all->count++] = slice_of(name);
	all->pairs[all->count++] = value;
}

static void put_host_name(struct buf *out, const struct session_facts *f)
{
	if (f->reverse_name.n)
		buf_add(out, f->reverse_name);
	else
		buf_addf(out, "[%s]", f->ip_text);
}

/* All that are known now; which of them go where is the place's. */
static void know_macros(const struct milter *m, struct macros *all)
{
	static const struct slice listeners[] = { [LISTENER_MX] = SLICE_INIT("mx"), [LISTENER_SUBMISSION] = SLICE_INIT("submission"),
		[LISTENER_SUBMISSIONS] = SLICE_INIT("submissions"), [LISTENER_LOCAL] = SLICE_INIT("local") };
	const struct session_facts *f = facts(m);
	const struct transaction_facts *t = f->transaction;
	const struct recipient *r = check_recipient(m->check);
	*all = (struct macros){ .name = BUF_INIT(400), .port = BUF_INIT(16) };
	put_host_name(&all->name, f);
	buf_addf(&all->port, "%u", net_address_port(&f->peer));
	know(all, "j", general_settings.hostname);
	know(all, "{daemon_name}", listeners[f->listener]);
	know(all, "v", SLICE("Porter"));
	know(all, "_", buf_slice(&all->name));
	know(all, "{client_addr}", slice_of(f->ip_text));
	know(all, "{client_name}", f->reverse_name.n ? f->reverse_name : SLICE("unknown"));
	know(all, "{client_ptr}", f->reverse_name.n ? f->reverse_name : SLICE("unknown"));
	know(all, "{client_port}", buf_slice(&all->port));
	know(all, "{tls_version}", slice_of(f->tls_protocol));
	know(all, "{cipher}", slice_of(f->tls_cipher));
	know(all, "{auth_type}", f->login_mechanism);
	know(all, "{auth_authen}", f->login);
	know(all, "i", t ? unique_slice(&t->id) : SLICE_NONE);
	know(all, "{mail_addr}", t ? t->sender : SLICE_NONE);
	know(all, "{rcpt_addr}", r ? r->address : SLICE_NONE);
}

/* What goes where unless the filter named its own list (smfi_setsymlist). */
static const struct slice usual[MILTER_MACRO_PLACES] = {
	[MILTER_AT_CONNECT] = SLICE_INIT("j {daemon_name} v {client_addr} {client_name} {client_port} _"),
	[MILTER_AT_HELO] = SLICE_INIT("{tls_version} {cipher}"),
	[MILTER_AT_MAIL] = SLICE_INIT("i {auth_type} {auth_authen} {mail_addr}"),
	[MILTER_AT_RCPT] = SLICE_INIT("{rcpt_addr}"),
	[MILTER_AT_DATA] = SLICE_INIT("i"),
	[MILTER_AT_END_OF_HEADER] = SLICE_INIT("i"),
	[MILTER_AT_END] = SLICE_INIT("i"),
};

static struct slice macro_value(const struct macros *all, struct slice name)
{
	for (size_t i = 0; i < all->count; i += 2)
		if (slice_eq(all->pairs[i], name))
			return all->pairs[i + 1];
	return SLICE_NONE;
}

static void put_macros(struct milter *m, enum milter_macro_place place, enum milter_command command)
{
	struct slice names = m->macros[place].p ? m->macros[place] : usual[place], pairs[MAX_MACROS * 2];
	struct macros all;
	size_t count = 0;
	know_macros(m, &all);
	while (names.n && count < MAX_MACROS * 2) {
		struct slice name = slice_cut(names, ' ', &names);
		pairs[count++] = name;
		pairs[count++] = macro_value(&all, name);
	}
	milter_put_macros(&m->out, command, pairs, count);
	buf_free(&all.name);
	buf_free(&all.port);
}

/* -- the steps ----------------------------------------------------------------------------------------------------------------------------- */

static enum wrote put_connect(struct milter *m)
{
	const struct session_facts *f = facts(m);
	struct buf name = BUF_INIT(400);
	put_host_name(&name, f);
	put_macros(m, MILTER_AT_CONNECT, MILTER_CONNECT);
	milter_put_connect(&m->out, buf_slice(&name), &f->ip, net_address_port(&f->peer));
	buf_free(&name);
	return WROTE;
}

static enum wrote put_helo(struct milter *m)
{
	const struct session_facts *f = facts(m);
	buf_clear(&m->helo);
	buf_add(&m->helo, f->helo);
	m->helo_tls = f->tls;
	put_macros(m, MILTER_AT_HELO, MILTER_HELO);
	milter_put_words(&m->out, MILTER_HELO, &f->helo, 1);
	return WROTE;
}

static enum wrote put_mail(struct milter *m)
{
	const struct session_facts *f = facts(m);
	const struct transaction_facts *t = f->transaction;
	struct buf path = BUF_INIT(2048), size = BUF_INIT(40);
	struct slice words[4];
	size_t count = 0;
	buf_add_byte(&path, '<');
	mail_path_print(&path, &t->reverse_path);
	buf_add_byte(&path, '>');
	words[count++] = buf_slice(&path);
	if (t->announced) {
		buf_addf(&size, "SIZE=%llu", (unsigned long long)t->announced);
		words[count++] = buf_slice(&size);
	}
	if (t->eight_bit)
		words[count++] = SLICE("BODY=8BITMIME");
	if (t->utf8)
		words[count++] = SLICE("SMTPUTF8");
	put_macros(m, MILTER_AT_MAIL, MILTER_MAIL);
	milter_put_words(&m->out, MILTER_MAIL, words, count);
	buf_free(&path);
	buf_free(&size);
	return WROTE;
}

static enum wrote put_rcpt(struct milter *m)
{
	const struct recipient *r = check_recipient(m->check);
	struct buf path = BUF_INIT(2048);
	buf_add_byte(&path, '<');
	mail_path_print(&path, &r->path);
	buf_add_byte(&path, '>');
	struct slice word = buf_slice(&path);
	put_macros(m, MILTER_AT_RCPT, MILTER_RCPT);
	milter_put_words(&m->out, MILTER_RCPT, &word, 1);
	buf_free(&path);
	return WROTE;
}

static enum wrote put_data(struct milter *m)
{
	put_macros(m, MILTER_AT_DATA, MILTER_DATA);
	milter_put_empty(&m->out, MILTER_DATA);
	return WROTE;
}

/* An mbox has it in front of its fields. */
static bool is_from_line(struct slice line)
{
	return slice_starts(line, SLICE("From ")) || slice_starts(line, SLICE(">From "));
}

/* The next field, folds with LF alone as libmilter has them. A line that is none ends them, as it does for readers, who show what follows. */
static enum wrote put_header(struct milter *m)
{
	struct mail_field f;
	enum mail_field_kind kind;
	struct slice before = m->head;
	while ((kind = mail_field_next(&m->head, &f)) == MAIL_FIELD_BAD && is_from_line(f.raw))
		before = m->head;
	if (kind == MAIL_FIELD_BAD) {
		m->stray = before;
		m->head = SLICE_NONE;
	}
	if (kind != MAIL_FIELD)
		return NOTHING;
	struct buf value = BUF_INIT(MESSAGE_MAX_HEAD);
	struct slice v = f.value;
	if (!(m->options & MILTER_LEADING_SPACE))
		v = slice_skip(v, v.n && v.p[0] == ' ' ? 1 : 0);
	while (v.n)
		buf_add(&value, slice_cut(v, '\r', &v));
	const struct slice words[] = { f.name, buf_slice(&value) };
	milter_put_words(&m->out, MILTER_HEADER, words, 2);
	buf_free(&value);
	return WROTE;
}

static enum wrote put_end_of_header(struct milter *m)
{
	put_macros(m, MILTER_AT_END_OF_HEADER, MILTER_END_OF_HEADER);
	milter_put_empty(&m->out, MILTER_END_OF_HEADER);
	return WROTE;
}

static void body_was_read(void *arg, struct slice bytes, uint64_t next, int error)
{
	struct milter *m = arg;
	if (!error && !m->lost && bytes.n) {
		buf_add(&m->piece, bytes);
		m->cursor = next;
	} else if (!error && !m->lost) {
		m->body_over = true;
	}
	milter_body_was_read(m, error);
}

/* The next piece: at once from memory, by the worker from a file. What the worker read may be more than one. */
static enum wrote put_body(struct milter *m)
{
	struct message *msg = check_message(m->check);
	if (m->stray.n) {
		struct slice piece = slice_head(m->stray, MILTER_BODY_CHUNK);
		m->stray = slice_skip(m->stray, piece.n);
		milter_put_body(&m->out, piece);
		return WROTE;
	}
	if (m->piece.n) {
		struct slice piece = slice_head(buf_slice(&m->piece), MILTER_BODY_CHUNK);
		milter_put_body(&m->out, piece);
		buf_drop(&m->piece, piece.n);
		return WROTE;
	}
	buf_free(&m->piece);
	if (m->body_over)
		return NOTHING;
	if (!message_is_spilled(msg) || msg->body_replaced) {
		struct slice piece = slice_head(slice_skip(buf_slice(&msg->body), m->cursor), MILTER_BODY_CHUNK);
		m->cursor += piece.n;
		m->body_over = m->cursor >= msg->body.n;
		if (piece.n)
			milter_put_body(&m->out, piece);
		return piece.n ? WROTE : NOTHING;
	}
	m->reading = true;
	message_read_body(msg, m->cursor, READ_AT_ONCE, body_was_read, m);
	return BUSY;
}

static enum wrote put_end(struct milter *m)
{
	milter_changes_clear(&m->changes);
	m->end_began_ms = clock_mono_ms();
	put_macros(m, MILTER_AT_END, MILTER_END_OF_BODY);
	milter_put_empty(&m->out, MILTER_END_OF_BODY);
	return WROTE;
}

const struct milter_step milter_steps[] = {
	[AT_OPTIONS] = { 0, 0, false, put_options },
	[AT_CONNECT] = { MILTER_NO_CONNECT, MILTER_QUIET_CONNECT, false, put_connect },
	[AT_HELO] = { MILTER_NO_HELO, MILTER_QUIET_HELO, false, put_helo },
	[AT_MAIL] = { MILTER_NO_MAIL, MILTER_QUIET_MAIL, false, put_mail },
	[AT_RCPT] = { MILTER_NO_RCPT, MILTER_QUIET_RCPT, false, put_rcpt },
	[AT_DATA] = { MILTER_NO_DATA, MILTER_QUIET_DATA, false, put_data },
	[AT_HEADERS] = { MILTER_NO_HEADERS, MILTER_QUIET_HEADER, true, put_header },
	[AT_END_OF_HEADER] = { MILTER_NO_EOH, MILTER_QUIET_EOH, false, put_end_of_header },
	[AT_BODY] = { MILTER_NO_BODY, MILTER_QUIET_BODY, true, put_body },
	[AT_END] = { 0, 0, false, put_end },
};
