/* The check `returns`. The keeper makes the keyed hashes, one question at a time; an address doesn't name its key, so each of ours is tried. */
#include "smtpd/returns.h"

#include <errno.h>

#include "base/clock.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/mail_header.h"
#include "base/mem.h"
#include "base/text.h"
#include "delivery/srs.h"
#include "maps/domains.h"
#include "maps/map_key.h"
#include "queue/queue_proto.h"
#include "smtpd/evidence_settings.h"
#include "smtpd/message.h"
#include "smtpd/outcome.h"
#include "smtpd/peer.h"
#include "smtpd/smtpd.h"

enum { KEY_NUMBERS = 10, MAX_IDS = 50, LOOK_MS = 10000, MAX_READ = 256 << 10 };

struct returns_state {
	struct check *c;
	struct keeper_question *question;
	struct peer_question *look;
	struct arena mem;
	struct srs_plan plan;
	struct srs_found found;
	int number;                  /* of the key under trial; -1 the newest */
	bool proven;                 /* which kind of hash is under trial */
	struct slice owner;          /* whose reports the transaction's forwards bring; "" the sender's, or nobody's */
	struct slice batv_hash;      /* of the tag under trial */
	bool folded;                 /* which spelling of the tagged address is under trial */
	enum srs_answer age;         /* of its tag */
	struct buf text;             /* head and body, for the Message-IDs */
	bool answers;                /* a report, or what has to name a message of ours like one */
};

static void *begin(struct check *c)
{
	if (check_facts(c)->listener != LISTENER_MX)
		return NULL;
	struct returns_state *s = MEM_NEW(struct returns_state);
	s->c = c;
	s->mem.max = 64 << 10;
	buf_init(&s->text, MAX_READ);
	return s;
}

static bool has_srs(struct map_set *maps, struct slice domain)
{
	struct arena mem = ARENA_INIT(16 << 10);
	struct map_domain d;
	bool yes = maps && domains_find(maps, domain, &mem, &d) == FOUND && d.srs;
	arena_free(&mem);
	return yes;
}

bool returns_is_srs(struct map_set *maps, const struct mail_path *p)
{
	struct slice l = p->local_part;
	bool marked = l.n > 5 && (slice_starts_nocase(l, SLICE("SRS0")) || slice_starts_nocase(l, SLICE("SRS1"))) && strchr("=+-", l.p[4]) && l.p[4];
	return marked && has_srs(maps, p->domain);
}

static enum check_step refuse(struct returns_state *s, struct mail_status status)
{
	check_refuse(s->c, status);
	return CHECK_REFUSE;
}

/* -- a report comes back ---------------------------------------------------------------------------------------------------- */

#define FORGED MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "There is no such address")
#define OLD MAIL_STATUS(MAIL_NEVER, 550, 1, 1, "This address was valid for some weeks only")
#define CLOCK MAIL_STATUS(MAIL_LATER, 451, 3, 0, "This address was made later than our clock is: one of them is wrong")
#define SET MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Our clock was set forward: whether this address is too old can't be said before an hour has passed")
#define NOT_NOW MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The address can't be checked just now")

static bool try_key(struct returns_state *s);

/* Nobody is to hear of it. The leaf says where it would go, should the postmaster release it from the dead letters. */
static bool withhold(struct returns_state *s, const struct mail_path *to, struct recipient *r)
{
	struct arena *mem = check_arena(s->c);
	struct buf place = BUF_INIT(300), address = BUF_INIT(1024);
	struct leaf *leaf = ARENA_NEW(mem, struct leaf);
	buf_addf(&place, "mx:%.*s", SLICE_FMT(to->domain));
	mail_path_print(&address, to);
	if (leaf && r->resolved.status.fate == MAIL_OK && r->resolved.count == 1 && r->resolved.leaves[0].kind == LEAF_HOP)
		*leaf = r->resolved.leaves[0];
	else if (leaf)
		*leaf = (struct leaf){ .kind = LEAF_HOP, .address = arena_copy(mem, buf_slice(&address)), .domain = to->domain, .place = arena_copy(mem, buf_slice(&place)),
			               .route = SLICE(""), .owner = SLICE(""), .forward_owner = SLICE("") };
	bool good = leaf && leaf->address.p && leaf->place.p && !buf_full(&place) && !buf_full(&address);
	if (good) {
		leaf->withheld = true;
		r->resolved = (struct resolved){ .class = RESOLVE_FOREIGN, .status = MAIL_STATUS_OK, .leaves = leaf, .count = 1 };
	}
	buf_free(&place);
	buf_free(&address);
	return good;
}

/* The address is ours: on to whom it stands for, or into the dead letters. */
static enum check_step go_back(struct returns_state *s)
{
	struct recipient *r = check_candidate(s->c);
	struct smtpd *d = check_smtpd(s->c);
	struct mail_path to = { .local_part = arena_copy(check_arena(s->c), s->found.local), .domain = arena_copy(check_arena(s->c), s->found.domain) };
	if (s->found.age == SRS_OLD)
		return refuse(s, outcome_believes_clock(d) ? OLD : SET);
	if (s->found.age == SRS_EARLY)
		return refuse(s, CLOCK);
	if (!d->maps || !to.local_part.p || !to.domain.p)
		return refuse(s, NOT_NOW);
	resolve_path(d->maps, &to, false, check_arena(s->c), &r->resolved);
	if (!s->proven && !withhold(s, &to, r))
		return refuse(s, NOT_NOW);
	if (r->resolved.status.fate != MAIL_OK)
		return refuse(s, r->resolved.status);
	log_event(LOG_INFO, "srs-return", LOG_STR("id", unique_slice(&check_facts(s->c)->transaction->id)), LOG_STR("to", r->address), LOG_STR("local", to.local_part),
	          LOG_STR("domain", to.domain), LOG_CSTR("goes", s->proven ? "on" : "nowhere"), LOG_END);
	return CHECK_GO_ON;
}

static void on_hash(void *arg, int error, struct slice out, unsigned number)
{
	struct returns_state *s = arg;
	(void)number;
	s->question = NULL;
	if (error && error != -ENOENT) {
		check_answer(s->c, refuse(s, NOT_NOW));
		return;
	}
	if (!error && out.n == 32 && srs_matches(&s->found, (const uint8_t *)out.p)) {
		check_answer(s->c, go_back(s));
		return;
	}
	/* the other kind of hash by the same key, then the next key */
	if (s->proven && !error) {
		s->proven = false;
	} else {
		s->proven = true;
		s->number++;
	}
	if (s->number >= KEY_NUMBERS || !try_key(s))
		check_answer(s->c, refuse(s, FORGED));
}

static bool try_key(struct returns_state *s)
{
	if (srs_plan_check(&s->found, s->proven, &s->plan))
		return false;
	s->question = keeper_mac(check_smtpd(s->c)->keeper, SLICE("srs"), s->number, 256, slice(s->plan.data, s->plan.data_n), on_hash, s);
	return true;
}

static enum check_step read_address(struct returns_state *s)
{
	const struct recipient *r = check_recipient(s->c);
	if (check_facts(s->c)->transaction->sender.n)
		return refuse(s, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "This address takes reports only, with the null reverse-path"));
	arena_reset(&s->mem);
	if (srs_read(r->path.local_part, clock_wall_s(), &s->mem, &s->found) != SRS_GOOD)
		return refuse(s, FORGED);
	s->number = -1;
	s->proven = true;
	return try_key(s) ? CHECK_WAIT : refuse(s, FORGED);
}

/* -- a message goes on ------------------------------------------------------------------------------------------------------ */

static void on_made(void *arg, int error, struct slice out, unsigned number)
{
	struct returns_state *s = arg;
	struct buf local = BUF_INIT(1024), text = BUF_INIT(1024);
	(void)number;
	s->question = NULL;
	bool good = !error && out.n == 32 && srs_print(&s->plan, (const uint8_t *)out.p, &local) == 0;
	struct mail_path path = { .local_part = buf_slice(&local), .domain = check_recipient(s->c)->path.domain };
	if (good && mail_path_fits(&path) && mail_path_print(&text, &path) == 0)
		check_set_forward_sender(s->c, buf_slice(&text)); /* too long: as it was */
	buf_free(&local);
	buf_free(&text);
	check_answer(s->c, good ? CHECK_GO_ON : refuse(s, NOT_NOW));
}

#define APART MAIL_STATUS(MAIL_LATER, 452, 5, 3, "This forward has another owner, send to it in another transaction")

/* An alias of ours leads outside, and not as a list, which has its owner. */
static bool is_forward(const struct recipient *r)
{
	for (size_t i = 0; i < r->resolved.count; i++)
		if (r->resolved.leaves[i].kind == LEAF_HOP && !r->resolved.leaves[i].relayed && !r->resolved.leaves[i].owner.n)
			return true;
	return false;
}

/* The named owner of the forward, where that is a mailbox here. */
static bool owner_of(struct map_set *maps, const struct recipient *r, struct arena *mem, struct mail_path *out)
{
	struct resolved o;
	struct slice owner = r->resolved.count == 1 ? r->resolved.leaves[0].forward_owner : SLICE(""), key;
	if (!owner.n || map_key_address(owner, mem, &key) || !map_key_split(key, &out->local_part, &out->domain))
		return false;
	resolve_path(maps, out, false, mem, &o);
	bool here = o.status.fate == MAIL_OK && o.class == RESOLVE_OURS;
	for (size_t i = 0; i < o.count; i++)
		here = here && o.leaves[i].kind != LEAF_HOP;
	return here;
}

static bool is_ours(struct map_set *maps, struct slice domain)
{
	struct arena mem = ARENA_INIT(16 << 10);
	struct map_domain d;
	bool ours = domains_find(maps, domain, &mem, &d) != ABSENT;
	arena_free(&mem);
	return ours;
}

/* Reports go to the sender, if he is proven; else to the forward's owner, who is named in his place; else to nobody (rule.md, "Reports that come to us"). */
static enum check_step rewrite_sender(struct returns_state *s)
{
	const struct transaction_facts *t = check_facts(s->c)->transaction;
	const struct recipient *r = check_recipient(s->c);
	struct smtpd *d = check_smtpd(s->c);
	struct mail_path from = t->reverse_path;
	if (!t->sender.n || !is_forward(r) || !has_srs(d->maps, r->path.domain) || is_ours(d->maps, t->reverse_path.domain))
		return CHECK_GO_ON;
	bool proven = t->evidence.grade >= EVIDENCE_SPF, owned = !proven && owner_of(d->maps, r, check_arena(s->c), &from);
	struct slice owner = owned ? r->resolved.leaves[0].forward_owner : SLICE("");
	if (t->forward_sender.n) /* one for all forwards of the transaction */
		return slice_eq(owner, s->owner) ? CHECK_GO_ON : refuse(s, APART);
	s->owner = arena_copy(check_arena(s->c), owner);
	if (srs_plan_forward(from.local_part, from.domain, proven || owned, clock_wall_s(), &s->plan))
		return CHECK_GO_ON; /* too long for a local-part of ours: as it was */
	s->question = keeper_mac(d->keeper, SLICE("srs"), -1, 256, slice(s->plan.data, s->plan.data_n), on_made, s);
	return CHECK_WAIT;
}

/* -- tags of our own addresses (BATV) ---------------------------------------------------------------------------------------- */

#define UNTAGGED MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Reports on mail of this domain bear its tag in the address (prvs=); this one does not")

static bool ask_tag(struct returns_state *s, bool folded);

static void on_tag(void *arg, int error, struct slice out, unsigned number)
{
	struct returns_state *s = arg;
	(void)number;
	s->question = NULL;
	if (error && error != -ENOENT)
		check_answer(s->c, refuse(s, NOT_NOW));
	else if (!error && out.n >= 3 && batv_matches(s->batv_hash, (const uint8_t *)out.p))
		check_answer(s->c, s->age == SRS_GOOD ? CHECK_GO_ON : refuse(s, s->age == SRS_EARLY ? CLOCK : SET));
	else if (s->folded || !ask_tag(s, true))
		check_answer(s->c, refuse(s, UNTAGGED));
}

static bool is_exempt(struct slice local)
{
	return slice_eq_nocase(local, SLICE("postmaster")) || slice_eq_nocase(local, SLICE("abuse"));
}

/* A report to an address of a domain with tags. */
static bool wants_tag(struct returns_state *s, const struct recipient *r)
{
	struct smtpd *d = check_smtpd(s->c);
	struct arena mem = ARENA_INIT(16 << 10);
	struct map_domain domain;
	bool wants = !check_facts(s->c)->transaction->sender.n && !is_exempt(r->path.local_part) && d->maps &&
	             domains_find(d->maps, r->path.domain, &mem, &domain) == FOUND && domain.batv;
	arena_free(&mem);
	return wants;
}

/* Ours are made of the folded address, since others may fold it; what came from Exim's time is as it was written. */
static bool ask_tag(struct returns_state *s, bool folded)
{
	const struct mail_path *to = &check_recipient(s->c)->path;
	char data[BATV_MAX_DATA];
	struct slice plain, hash;
	unsigned number;
	size_t n;
	arena_reset(&s->mem);
	struct slice local = folded ? text_lower(&s->mem, to->local_part) : to->local_part;
	s->folded = folded;
	if (folded && slice_eq(local, to->local_part))
		return false;
	enum srs_answer a = batv_read(local, to->domain, clock_wall_s(), &number, &hash, &plain, data, &n);
	if (a != SRS_GOOD && a != SRS_EARLY && !(a == SRS_OLD && !outcome_believes_clock(check_smtpd(s->c))))
		return false;
	s->age = a;
	s->batv_hash = arena_copy(&s->mem, hash);
	s->question = keeper_mac(check_smtpd(s->c)->keeper, SLICE("batv"), (int)number, 1, slice(data, n), on_tag, s);
	return true;
}

/* -- did we send what is reported? ------------------------------------------------------------------------------------------ */

/* Its domain lets nothing else send, and the address itself proved nothing at RCPT: an SRS address is a forward that we made, a tag is mail that we sent. */
static bool is_unproven(struct map_set *maps, const struct mail_path *p, bool report)
{
	struct arena mem = ARENA_INIT(16 << 10);
	struct map_domain d;
	bool unproven = !is_exempt(p->local_part) && !(report && returns_is_srs(maps, p)) && domains_find(maps, p->domain, &mem, &d) == FOUND && d.sole_sender && !(report && d.batv);
	arena_free(&mem);
	return unproven;
}

static bool wants_proof(struct returns_state *s)
{
	const struct transaction_facts *t = check_facts(s->c)->transaction;
	struct smtpd *d = check_smtpd(s->c);
	bool wants = false;
	for (size_t i = 0; s->answers && d->maps && i < t->recipient_count && !wants; i++)
		wants = is_unproven(d->maps, &t->recipients[i]->path, !t->sender.n);
	return wants;
}

/* By its header: an automatic reply (RFC 3834, 5), or a disposition notification (RFC 8098, 3). */
static bool is_reply(struct slice head)
{
	struct arena mem = ARENA_INIT(8 << 20);
	struct mail_header h;
	bool reply = false;
	if (mail_header_parse(head, MESSAGE_MAX_FIELDS, &mem, &h) == 0) {
		const struct mail_field *automatic = mail_header_find(&h, SLICE("Auto-Submitted"), 0), *type = mail_header_find(&h, SLICE("Content-Type"), 0);
		struct slice kind = type ? mail_field_unfold(type, &mem) : SLICE("");
		reply = automatic && slice_starts_nocase(slice_trim(automatic->value), SLICE("auto-replied"));
		for (; kind.n && !reply; kind = slice_skip(kind, 1))
			reply = slice_starts_nocase(kind, SLICE("disposition-notification"));
	}
	arena_free(&mem);
	return reply;
}

static enum check_step judge_answer(struct returns_state *s, enum answer a)
{
	switch (a) {
	case FOUND:
		return CHECK_GO_ON;
	case ABSENT:
		return refuse(s, MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "This reports on, or answers, a message that was not sent from here"));
	case UNSURE:
		check_tag(s->c, SLICE("unproven-report"));
		return CHECK_GO_ON;
	}
	return CHECK_GO_ON;
}

static int on_looked(void *arg, struct ipc_message *m)
{
	struct returns_state *s = arg;
	enum answer a = UNSURE;
	s->look = NULL;
	int error = m && (m->type != QUEUE_SENT_LOOKED || queue_get_answer(m->payload, &a)) ? -EPROTO : 0;
	check_answer(s->c, judge_answer(s, error ? UNSURE : a));
	return error;
}

static void on_head(void *state, struct check *c, struct slice head)
{
	struct returns_state *s = state;
	(void)c;
	buf_clear(&s->text);
	s->answers = !check_facts(s->c)->transaction->sender.n || (evidence_settings.replies && is_reply(head));
	if (s->answers)
		buf_add(&s->text, slice_head(head, MAX_READ));
}

static void on_body(void *state, struct check *c, struct slice bytes)
{
	struct returns_state *s = state;
	(void)c;
	if (s->text.n)
		buf_add(&s->text, slice_head(bytes, s->text.max - s->text.n));
}

static enum check_step look_up(struct returns_state *s)
{
	struct arena mem = ARENA_INIT(4 << 20);
	struct slice ids[MAX_IDS];
	struct buf b = BUF_INIT(128 << 10);
	size_t count = returns_message_ids(buf_slice(&s->text), &mem, ids, MAX_IDS);
	struct peer *queue = check_smtpd(s->c)->queue;
	enum check_step step = CHECK_WAIT;
	if (!count)
		ids[count++] = SLICE("<>"); /* names nothing: the ledger says no, or that it can't tell yet */
	if (queue_put_texts(&b, ids, count) || !(s->look = peer_ask(queue, QUEUE_SENT_LOOK, buf_slice(&b), -1, LOOK_MS, on_looked, s)))
		step = judge_answer(s, UNSURE);
	buf_free(&b);
	arena_free(&mem);
	return step;
}

/* -- the kind --------------------------------------------------------------------------------------------------------------- */

static enum check_step run(void *state, struct check *c, enum check_stage stage)
{
	struct returns_state *s = state;
	if (stage == CHECK_RCPT && wants_tag(s, check_recipient(c)) && check_recipient(c)->resolved.count)
		return ask_tag(s, false) ? CHECK_WAIT : refuse(s, UNTAGGED);
	if (stage == CHECK_RCPT)
		return check_recipient(c)->resolved.count ? rewrite_sender(s) : read_address(s);
	return stage == CHECK_DOT && wants_proof(s) ? look_up(s) : CHECK_GO_ON;
}

static void forget(struct returns_state *s)
{
	keeper_cancel(s->question);
	peer_cancel(s->look);
	s->question = NULL;
	s->look = NULL;
	s->owner = SLICE("");
	s->answers = false;
	arena_reset(&s->mem);
	buf_clear(&s->text);
}

static void cancel(void *state, struct check *c)
{
	(void)c;
	forget(state);
}

static void end(void *state)
{
	struct returns_state *s = state;
	forget(s);
	arena_free(&s->mem);
	buf_free(&s->text);
	mem_free(s);
}

const struct check_kind returns_check = { .name = "returns", .begin = begin, .run = run, .on_head = on_head, .on_body = on_body, .cancel = cancel, .reset = cancel,
	                                  .end = end };
