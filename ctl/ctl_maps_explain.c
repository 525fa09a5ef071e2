/* porterctl explain: what RCPT would be answered now, and why: the same functions that a session calls, with every look-up told. */
#include <errno.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mail_reply.h"
#include "base/scan.h"
#include "base/text.h"
#include "ctl/ctl_maps.h"
#include "ctl/explain_hop.h"
#include "ctl/explain_mailbox.h"
#include "ctl/tables.h"
#include "maps/access.h"
#include "maps/credentials.h"
#include "maps/map_key.h"
#include "maps/maps_settings.h"
#include "smtpd/judge.h"
#include "smtpd/login_settings.h"
#include "smtpd/smtpd_settings.h"

enum { MAX_FORWARDS = 20 }; /* as smtpd/transaction_mailbox.c */

struct question {
	struct ctl *c;
	struct map_set *set;
	struct mail_path to, from;
	bool has_from, has_client;
	bool many;                   /* "-": a path a line on standard input, an answer a line */
	struct net_ip ip;
	struct judge_client client;
	uint64_t size;
	struct evidence evidence;
	struct resolved resolved;
	struct slice access_key;     /* the line of access that decided, or "" */
	bool no_hops;                /* --no-hops: next hops are not connected to */
	bool unasked;                /* a next hop wants a login that this command does not have */
	enum answer login_known;     /* whether --auth's login, or user of this system, is one */
	const char *stage;           /* which command is refused: "connect", "AUTH", "MAIL", "RCPT" */
	struct mail_status reply;
};

/* Asking -------------------------------------------------------------------------------------------------------------------------------- */

static bool access_refuses(struct question *q, const char *stage, enum answer a, const struct access *line)
{
	q->stage = stage;
	if (a == UNSURE)
		q->reply = MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Could not look this up, try again later");
	else if (a == FOUND && (line->verdict == ACCESS_REFUSE || line->verdict == ACCESS_DEFER))
		q->reply = line->status;
	else
		return false;
	q->access_key = a == FOUND ? line->key : SLICE("");
	return true;
}

static bool may_read_secrets(const struct question *q)
{
	struct buf path = BUF_INIT(4200);
	buf_addf(&path, "%.*s/%llu", SLICE_FMT(maps_settings.secrets_directory), (unsigned long long)map_set_generation(q->set));
	bool may = access(arena_cstr(&q->c->mem, buf_slice(&path)), R_OK | X_OK) == 0 || errno == ENOENT;
	buf_free(&path);
	return !map_set_generation(q->set) || may;
}

/* As far as a command can tell: passwords may be somebody else's to know. */
static enum answer know_login(const struct question *q)
{
	struct credentials c;
	if (q->client.user.n)
		return getpwnam(arena_cstr(&q->c->mem, q->client.user)) ? FOUND : ABSENT;
	if (!q->client.login.n)
		return FOUND;
	enum answer a = may_read_secrets(q) ? credentials_find(q->set, q->client.login, &q->c->mem, &c) : UNSURE;
	if (a == FOUND && (c.hash.n || c.scram_sha256.iterations))
		return FOUND;
	return a == UNSURE || !slice_eq(login_settings.source, SLICE("credentials")) || login_settings.token_verifier.n ? UNSURE : ABSENT;
}

static bool refused_before_rcpt(struct question *q)
{
	struct access *line = ARENA_NEW(&q->c->mem, struct access);
	if (q->has_client && access_refuses(q, "connect", access_client(q->set, &q->ip, &q->c->mem, line), line))
		return true;
	q->stage = "AUTH";
	q->login_known = know_login(q);
	if (q->client.login.n && q->login_known == ABSENT) {
		q->reply = MAIL_STATUS(MAIL_NEVER, 535, 7, 8, "Login or password is wrong");
		return true;
	}
	q->stage = "MAIL";
	if (q->size > smtpd_settings.size_limit) {
		q->reply = MAIL_STATUS(MAIL_NEVER, 552, 3, 4, "The message is larger than what is taken here");
		return true;
	}
	if (!q->has_from && !q->client.login.n)
		return false;
	q->reply = judge_evidence(q->set, &q->client, &q->from, &q->c->mem, &q->evidence);
	if (q->reply.fate != MAIL_OK)
		return true;
	return access_refuses(q, "MAIL", access_from(q->set, &q->from, &q->c->mem, line), line);
}

static void take_answer(struct question *q, struct mail_status answer)
{
	if (answer.fate != MAIL_OK)
		q->reply = answer;
}

/* As smtpd/destinations.c: what the queue takes is not asked for; every other hop is, unless somebody else has to log in there. */
static void ask_hop(struct question *q, const struct leaf *l)
{
	const struct explain_hop_question ask = { l, &q->from, q->size, q->evidence.grade };
	if (resolve_is_queued(l, q->evidence.grade >= EVIDENCE_CLIENT) || q->no_hops)
		return;
	if (explain_hop_can(q->c, l))
		take_answer(q, explain_hop(q->c, &ask, NULL));
	else
		q->unasked = true;
}

struct forwards {
	struct slice users[MAX_FORWARDS]; /* whose ~/.forward was followed: met again they are mailboxes */
	size_t count;
};

static bool was_followed(const struct forwards *f, const struct leaf *l)
{
	for (size_t i = 0; l->kind == LEAF_SYSTEM && i < f->count; i++)
		if (slice_eq(f->users[i], l->place))
			return true;
	return false;
}

/* True: the leaf at that place is another one now. */
static bool ask_mailbox(struct question *q, size_t at, struct forwards *f)
{
	struct mailbox_asked asked;
	const struct leaf *l = &q->resolved.leaves[at];
	if (was_followed(f, l))
		return false;
	explain_mailbox(l, q->size, &q->c->mem, &asked);
	take_answer(q, asked.status);
	if (asked.status.fate != MAIL_OK || !asked.forward_count)
		return false;
	if (f->count == MAX_FORWARDS) {
		q->reply = MAIL_STATUS(MAIL_LATER, 451, 4, 6, "This address is forwarded too often");
		return false;
	}
	f->users[f->count++] = l->place;
	struct mail_status status = resolve_forward(q->set, &q->resolved, at, asked.forward, asked.forward_count, &q->c->mem);
	take_answer(q, status.fate == MAIL_OK ? resolve_one_first(q->resolved.leaves, q->resolved.count, q->evidence.grade >= EVIDENCE_CLIENT) : status);
	return true;
}

static void ask_destinations(struct question *q)
{
	struct forwards f = { .count = 0 };
	for (size_t i = 0; i < q->resolved.count && q->reply.fate == MAIL_OK;) {
		const struct leaf *l = &q->resolved.leaves[i];
		bool again = false;
		if (l->size_limit && q->size > l->size_limit)
			q->reply = MAIL_STATUS(MAIL_NEVER, 552, 2, 3, "The message is larger than this recipient takes");
		else if (l->kind == LEAF_HOP || l->kind == LEAF_LMTP)
			ask_hop(q, l);
		else
			again = ask_mailbox(q, i, &f);
		i += !again;
	}
}

static void ask(struct question *q)
{
	struct access *line = ARENA_NEW(&q->c->mem, struct access);
	if (refused_before_rcpt(q))
		return;
	q->stage = "RCPT";
	q->reply = judge_forward_path(q->set, &q->evidence, &q->to, true, &q->c->mem, &q->resolved);
	if (q->reply.fate != MAIL_OK || access_refuses(q, "RCPT", access_to(q->set, &q->to, &q->c->mem, line), line))
		return;
	q->reply = MAIL_STATUS(MAIL_OK, 250, 1, 5, "Ok");
	ask_destinations(q);
}

/* Telling ------------------------------------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = { [LEAF_MAILDIR] = "maildir", [LEAF_MBOX] = "mbox", [LEAF_SYSTEM] = "system", [LEAF_LMTP] = "lmtp", [LEAF_PROGRAM] = "program",
	                             [LEAF_HOP] = "next hop" };
static const char *const answers[] = { [FOUND] = "found", [ABSENT] = "absent", [UNSURE] = "unsure" };

static void tell_step(struct buf *b, const struct resolve_step *s)
{
	buf_addf(b, "  %-12s ", s->map);
	text_add_escaped(b, s->key);
	if (s->answer == FOUND) {
		buf_add(b, SLICE("  =>  "));
		text_add_escaped(b, slice_head(s->value, 200));
		buf_addf(b, "  (%s:%u)", s->map, s->line);
	} else {
		buf_addf(b, "  %s", s->answer == ABSENT ? "-" : "could not be told");
	}
	buf_add_byte(b, '\n');
}

static void tell_leaf(struct buf *b, const struct leaf *l)
{
	buf_addf(b, "  %-9s ", kinds[l->kind]);
	text_add_escaped(b, l->place);
	buf_add(b, SLICE("  for "));
	text_add_escaped(b, l->address);
	if (l->quota_bytes)
		buf_addf(b, "  quota %llu bytes", (unsigned long long)l->quota_bytes);
	if (l->quota_messages)
		buf_addf(b, "  quota %llu messages", (unsigned long long)l->quota_messages);
	if (l->size_limit)
		buf_addf(b, "  at most %llu bytes", (unsigned long long)l->size_limit);
	if (l->route.n)
		buf_addf(b, "  by route %.*s", SLICE_FMT(l->route));
	if (l->owner.n)
		buf_addf(b, "  queued, reports to %.*s", SLICE_FMT(l->owner));
	buf_add_byte(b, '\n');
}

static const char *destination(const struct question *q)
{
	size_t hops = 0;
	for (size_t i = 0; i < q->resolved.count; i++)
		hops += q->resolved.leaves[i].kind == LEAF_HOP;
	if (!q->resolved.count || q->reply.fate != MAIL_OK)
		return "none";
	if (!hops)
		return "mailbox: delivered inside the transaction";
	if (q->resolved.count > 1)
		return "list: local copies inside the transaction, the others queued under the owner";
	return q->evidence.grade >= EVIDENCE_CLIENT ? "queue: the sender is authenticated" : "pass-through: the next hop is asked first, and its answer is ours";
}

/* An alias is refused for the sake of one of those it leads to. */
static bool leads_to_failure(const struct question *q)
{
	struct slice key = q->resolved.failed, local, domain;
	return key.n && (!map_key_split(key, &local, &domain) || !slice_eq_nocase(local, q->to.local_part) || (q->to.domain.n && !slice_eq_nocase(domain, q->to.domain)));
}

static void tell_login(const struct question *q, struct buf *b)
{
	if (q->client.user.n && q->login_known == ABSENT)
		buf_addf(b, "%.*s is no user of this system\n", SLICE_FMT(q->client.user));
	else if (q->login_known == ABSENT)
		buf_addf(b, "the login %.*s is unknown: credentials has no line for it\n", SLICE_FMT(q->client.login));
	else if (q->login_known == UNSURE)
		buf_addf(b, "whether the login %.*s exists could not be told: %s\n", SLICE_FMT(q->client.login),
		         slice_eq(login_settings.source, SLICE("credentials")) && !login_settings.token_verifier.n ? "credentials is root's to read" : "others than credentials know logins, too");
}

static void tell(const struct question *q)
{
	struct buf b = BUF_INIT(8 << 20);
	struct slice name = evidence_name(q->evidence.grade);
	for (size_t i = 0; i < q->resolved.step_count; i++)
		tell_step(&b, q->resolved.steps[i]);
	if (q->resolved.count)
		buf_add(&b, SLICE("leads to\n"));
	for (size_t i = 0; i < q->resolved.count; i++)
		tell_leaf(&b, &q->resolved.leaves[i]);
	if (q->has_from || q->client.login.n)
		buf_addf(&b, "the sender counts as %.*s%s%.*s\n", SLICE_FMT(name), q->evidence.who.n ? ", by " : "", SLICE_FMT(q->evidence.who));
	tell_login(q, &b);
	if (q->access_key.n)
		buf_addf(&b, "access says so: %.*s\n", SLICE_FMT(q->access_key));
	if (leads_to_failure(q))
		buf_addf(&b, "the reply is about %.*s, to which it leads\n", SLICE_FMT(q->resolved.failed));
	buf_addf(&b, "destination: %s\n", destination(q));
	if (q->unasked)
		buf_add(&b, SLICE("the next hop was not asked: its route names credentials, which are the login process's alone\n"));
	buf_addf(&b, "%s: ", q->stage);
	mail_reply_add(&b, &q->reply);
	while (b.n && (b.p[b.n - 1] == '\n' || b.p[b.n - 1] == '\r'))
		b.n--;
	buf_add_byte(&b, '\n');
	ctl_print(buf_slice(&b));
	buf_free(&b);
}

static void add_text(struct buf *b, const char *name, struct slice s)
{
	buf_addf(b, ",\"%s\":", name);
	text_add_json(b, s);
}

static void tell_json(const struct question *q)
{
	struct buf b = BUF_INIT(8 << 20), reply = BUF_INIT(2048);
	mail_reply_add(&reply, &q->reply);
	buf_addf(&b, "{\"stage\":\"%s\",\"code\":%u", q->stage, q->reply.code);
	add_text(&b, "reply", slice_trim(buf_slice(&reply)));
	add_text(&b, "evidence", evidence_name(q->evidence.grade));
	add_text(&b, "destination", slice_of(destination(q)));
	if (q->client.login.n || q->client.user.n)
		buf_addf(&b, ",\"login\":\"%s\"", answers[q->login_known]);
	if (q->resolved.failed.n)
		add_text(&b, "about", q->resolved.failed);
	buf_add(&b, SLICE(",\"steps\":["));
	for (size_t i = 0; i < q->resolved.step_count; i++) {
		const struct resolve_step *s = q->resolved.steps[i];
		buf_addf(&b, "%s{\"map\":\"%s\",\"answer\":\"%s\",\"line\":%u", i ? "," : "", s->map, answers[s->answer], s->line);
		add_text(&b, "key", s->key);
		add_text(&b, "value", s->value);
		buf_add_byte(&b, '}');
	}
	buf_add(&b, SLICE("],\"leaves\":["));
	for (size_t i = 0; i < q->resolved.count; i++) {
		const struct leaf *l = &q->resolved.leaves[i];
		buf_addf(&b, "%s{\"kind\":\"%s\"", i ? "," : "", l->kind == LEAF_HOP ? "hop" : kinds[l->kind]);
		add_text(&b, "place", l->place);
		add_text(&b, "address", l->address);
		add_text(&b, "owner", l->owner);
		add_text(&b, "route", l->route);
		buf_addf(&b, ",\"quota_bytes\":%llu,\"size_limit\":%llu}", (unsigned long long)l->quota_bytes, (unsigned long long)l->size_limit);
	}
	buf_add(&b, SLICE("]}\n"));
	ctl_print(buf_slice(&b));
	buf_free(&reply);
	buf_free(&b);
}

/* The command line ---------------------------------------------------------------------------------------------------------------------- */

static int read_question(struct question *q, int argc, char **argv)
{
	struct ctl *c = q->c;
	const char *from = ctl_value(&argc, argv, "--from"), *client = ctl_value(&argc, argv, "--client"), *login = ctl_value(&argc, argv, "--auth"),
	           *size = ctl_value(&argc, argv, "--size");
	if (argc != 1)
		return ctl_fail(CTL_USAGE, "explain [--text] [--no-hops] [--from PATH] [--client IP] [--auth LOGIN] [--size N] ADDRESS");
	if (from && strcmp(from, "<>") != 0 && *from && !maps_read_path(c, from, &q->from))
		return CTL_USAGE;
	if (client && !net_ip_parse(slice_of(client), &q->ip))
		return ctl_fail(CTL_USAGE, "%s is no address of a client", client);
	if (size && !scan_size_all(slice_of(size), UINT64_MAX / 4, &q->size))
		return ctl_fail(CTL_USAGE, "%s is no size", size);
	q->many = strcmp(argv[0], "-") == 0;
	if (!q->many && !maps_read_path(c, argv[0], &q->to))
		return CTL_USAGE;
	q->has_from = from != NULL;
	q->has_client = client != NULL;
	bool local = login && strncmp(login, "unix:", 5) == 0; /* as in senders: a user of this system, by the sendmail command */
	q->client = (struct judge_client){ client ? &q->ip : NULL, SLICE(""), login && !local ? slice_of(login) : SLICE(""), false, local ? slice_of(login + 5) : SLICE("") };
	q->evidence = (struct evidence){ EVIDENCE_NONE, SLICE(""), SLICE("") };
	return 0;
}

/* As `RCPT TO:<LINE>` would be read. */
static bool read_line_path(struct question *q, struct slice line)
{
	struct buf path = BUF_INIT(8192);
	const char *why = "";
	buf_addf(&path, "<%.*s>", SLICE_FMT(line));
	struct slice in = arena_copy(&q->c->mem, buf_slice(&path));
	buf_free(&path);
	q->stage = "RCPT";
	if (in.p && mail_path_parse(&in, &q->c->mem, &q->to, &why) == 0 && in.n == 0) {
		q->reply = MAIL_STATUS(MAIL_NEVER, 501, 1, 3, "A recipient is missing");
		return !mail_path_is_null(&q->to);
	}
	struct buf text = BUF_INIT(300);
	buf_addf(&text, "This is no path: %s", why);
	q->reply = (struct mail_status){ MAIL_NEVER, 501, { 1, 3 }, arena_copy(&q->c->mem, buf_slice(&text)) };
	buf_free(&text);
	return false;
}

static int explain_lines(struct question *first)
{
	struct buf text;
	struct slice line;
	if (ctl_read_file("-", 64 << 20, &text))
		return ctl_fail(CTL_NO_INPUT, "standard input can't be read");
	struct slice rest = buf_slice(&text);
	while (scan_line(&rest, &line)) {
		struct question q = *first;
		struct arena keep = q.c->mem;         /* of one line: what was there before stays */
		q.c->mem = (struct arena)ARENA_INIT(64 << 20);
		if (read_line_path(&q, line))
			ask(&q);
		if (q.c->json) {
			tell_json(&q);
		} else {
			struct buf reply = BUF_INIT(2048);
			mail_reply_add(&reply, &q.reply);
			printf("%.*s\t%.*s\n", SLICE_FMT(line), SLICE_FMT(slice_trim(buf_slice(&reply))));
			buf_free(&reply);
		}
		arena_free(&q.c->mem);
		q.c->mem = keep;
	}
	buf_free(&text);
	return 0;
}

static int run_explain(struct ctl *c, int argc, char **argv)
{
	struct question q = { .c = c };
	bool text = ctl_flag(&argc, argv, "--text");
	q.no_hops = ctl_flag(&argc, argv, "--no-hops");
	int code = read_question(&q, argc, argv);
	if (code)
		return code;
	if (!ctl_settings(c))
		return CTL_CONFIG;
	if (!maps_open(c, text, &q.set, &code))
		return code;
	if (q.many) {
		code = explain_lines(&q);
		map_set_close(q.set);
		return code;
	}
	ask(&q);
	if (c->json)
		tell_json(&q);
	else
		tell(&q);
	map_set_close(q.set);
	return q.reply.fate == MAIL_OK ? 0 : q.reply.fate == MAIL_NEVER ? 1 : 2;
}

const struct ctl_command ctl_maps_explain_commands[] = {
	{ "explain", "[--text] [--no-hops] [--from PATH] [--client IP] [--auth LOGIN] [--size N] ADDRESS|-",
	  "Shows every look-up for an address, where it leads, and the very reply that RCPT would get now (-: for each line of standard input); a next hop that RCPT would ask is asked, "
	  "unless --no-hops is said; a LOGIN that is unknown is told; exit 0 accepted, 1 refused, 2 later.", run_explain },
	{ NULL, NULL, NULL, NULL }
};
