/* The one gate. report_gate_judge is the rule; the rest counts what went where.
 *
 * What went where is kept in arrays indexed by a keyed hash, without the names: a slot says on which day (or in which hour how often)
 * a report went to something that hashes here. Two names that share a slot share its allowance, so a collision withholds a
 * report, which is then a dead letter; it never lets one through. Memory is fixed, whatever strangers do. */
#include "queue/report_gate.h"

#include <errno.h>

#include "base/buf.h"
#include "base/field.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/suffix.h"
#include "queue/attacks.h"

enum { DAY_S = 86400, HOUR_S = 3600, SLOTS = 1 << 14, RECORD_VERSION = 1 };

struct hourly {
	uint32_t hour, count;
};

struct report_gate {
	struct hash_key key;
	uint64_t per_path;
	uint32_t closed_until_day;            /* for EVIDENCE_SPF, after a record that could not be read */
	uint32_t organisation_day[SLOTS];
	uint32_t host_day[SLOTS];
	struct hourly path_hour[SLOTS];
	struct report_counts counts;
	struct attacks *attacks;
};

static struct report_verdict withhold(const char *reason)
{
	return (struct report_verdict){ false, reason };
}

static struct report_verdict allow(const char *reason)
{
	return (struct report_verdict){ true, reason };
}

struct slice report_organisation(const struct evidence *evidence, struct slice to)
{
	struct slice domain = slice_skip(to, slice_rfind(to, '@') + 1), organisation = SLICE_NONE;
	struct suffix_list *suffixes = evidence->grade == EVIDENCE_SPF ? suffix_list_new(SLICE_NONE) : NULL;
	if (suffixes)
		organisation = suffix_organisation(suffixes, domain);
	suffix_list_free(suffixes);
	return organisation.n ? organisation : domain;
}

struct report_verdict report_gate_judge(const struct report_facts *f)
{
	enum evidence_grade grade = f->evidence.grade;
	if (f->to.n == 0)
		return withhold("null reverse-path: a report never answers a report");
	if (f->mode_none)
		return withhold("reports are switched off (reports none)");
	switch (f->kind) {
	case REPORT_INNER:
		if (f->to_ours)
			return allow("the recipient is one of ours");
		return grade >= EVIDENCE_SPF ? allow("the recipient wrote to us lately, proven") : withhold("the recipient never wrote to us, proven");
	case REPORT_REPLY:
		if (f->automatic)
			return withhold("automatic mail and lists get no automatic reply (RFC 3834)");
		return grade >= EVIDENCE_SPF ? allow("proven sender") : withhold("the sender is not proven");
	case REPORT_FAILURE:
		return grade >= EVIDENCE_SPF ? allow("proven sender") : withhold("the sender is not proven");
	case REPORT_DELAY:
	case REPORT_SUCCESS:
		return grade >= EVIDENCE_OWNER ? allow("authenticated sender") : withhold("the sender is not authenticated");
	}
	return withhold("unknown kind of report");
}

static uint32_t *day_slot(struct report_gate *g, uint32_t *days, struct slice name)
{
	return &days[hash_bytes(&g->key, name) % SLOTS];
}

/* One a day for each organisation: true takes today's. */
static bool take_day(struct report_gate *g, uint32_t *days, struct slice name, uint32_t today)
{
	uint32_t *day = day_slot(g, days, name);
	if (*day == today || today < g->closed_until_day)
		return false;
	*day = today;
	return true;
}

static bool take_hour(struct report_gate *g, struct slice path, uint32_t hour)
{
	struct hourly *slot = &g->path_hour[hash_bytes(&g->key, path) % SLOTS];
	if (slot->hour != hour)
		*slot = (struct hourly){ hour, 0 };
	if (slot->count >= g->per_path)
		return false;
	slot->count++;
	return true;
}

static struct report_verdict with_rates(struct report_gate *g, const struct report_facts *f, struct report_verdict v, int64_t now_s)
{
	if (!v.allowed)
		return v;
	if (f->evidence.grade == EVIDENCE_SPF && f->kind != REPORT_INNER && !take_day(g, g->organisation_day, f->organisation, (uint32_t)(now_s / DAY_S)))
		return withhold("this organisation had its report of the day (evidence spf)");
	if (!take_hour(g, f->to, (uint32_t)(now_s / HOUR_S)))
		return withhold("this reverse-path had its reports of the hour");
	return v;
}

/* An automatic reply to somebody who is not proven, and a report from inside to a stranger, are what an attacker wanted. */
static void account(struct report_gate *g, const struct report_facts *f, int64_t now_s)
{
	bool reply = f->kind == REPORT_REPLY && !f->automatic;
	if ((reply || f->kind == REPORT_INNER) && f->evidence.grade < EVIDENCE_SPF && f->to.n)
		attacks_note(g->attacks, &(struct attack){ .kind = reply ? ATTACK_REPLY : ATTACK_INNER, .answer = ATTACK_WITHHELD,
			.domain = slice_skip(f->to, slice_rfind(f->to, '@') + 1), .now_s = now_s });
}

_Static_assert((int)REPORT_KINDS == (int)ATTACK_REPORTS, "the account has a counter for each kind");

struct report_verdict may_report(struct report_gate *g, const struct report_facts *f, int64_t now_s)
{
	struct report_verdict v = with_rates(g, f, report_gate_judge(f), now_s);
	(v.allowed ? g->counts.allowed : g->counts.withheld)[f->kind]++;
	attacks_note_report(g->attacks, f->kind, v.allowed);
	if (!v.allowed)
		account(g, f, now_s);
	return v;
}

bool report_gate_host(struct report_gate *g, const struct evidence *evidence, struct slice host, int64_t now_s)
{
	return evidence->grade != EVIDENCE_SPF || take_day(g, g->host_day, host, (uint32_t)(now_s / DAY_S));
}

struct report_gate *report_gate_new(uint64_t per_path)
{
	struct report_gate *g = MEM_NEW(struct report_gate);
	g->key = hash_key_random();
	g->per_path = per_path;
	return g;
}

void report_gate_account(struct report_gate *g, struct attacks *attacks)
{
	g->attacks = attacks;
}

void report_gate_free(struct report_gate *g)
{
	mem_free(g);
}

const struct report_counts *report_gate_counts(const struct report_gate *g)
{
	return &g->counts;
}

/* The record: version, key, then the used slots as {index, day} pairs, so that a quiet server's record is small. */
enum { TAG_VERSION = 1, TAG_KEY0, TAG_KEY1, TAG_ORGANISATION, TAG_HOST };

static int save_days(struct buf *out, uint8_t tag, const uint32_t *days)
{
	int failed = 0;
	for (uint64_t i = 0; i < SLOTS && !failed; i++)
		if (days[i])
			failed = field_add_uint(out, tag, i << 32 | days[i]);
	return failed;
}

int report_gate_save(const struct report_gate *g, struct buf *out)
{
	int failed = field_add_uint(out, TAG_VERSION, RECORD_VERSION);
	failed = failed ? failed : field_add_uint(out, TAG_KEY0, g->key.k0);
	failed = failed ? failed : field_add_uint(out, TAG_KEY1, g->key.k1);
	failed = failed ? failed : save_days(out, TAG_ORGANISATION, g->organisation_day);
	return failed ? failed : save_days(out, TAG_HOST, g->host_day);
}

static bool load_field(struct report_gate *g, uint8_t tag, uint64_t value)
{
	uint64_t slot = value >> 32;
	switch (tag) {
	case TAG_VERSION:
		return value == RECORD_VERSION;
	case TAG_KEY0:
		g->key.k0 = value;
		return true;
	case TAG_KEY1:
		g->key.k1 = value;
		return true;
	case TAG_ORGANISATION:
	case TAG_HOST:
		if (slot >= SLOTS)
			return false;
		(tag == TAG_HOST ? g->host_day : g->organisation_day)[slot] = (uint32_t)value;
		return true;
	}
	return false;
}

int report_gate_load(struct report_gate *g, struct slice record, int64_t now_s)
{
	struct slice in = record, bytes;
	uint8_t tag, first = 0;
	uint64_t value;
	bool good = true;
	while (good && field_next(&in, &tag, &bytes)) {
		first = first ? first : tag;
		good = field_uint(bytes, UINT64_MAX, &value) && load_field(g, tag, value);
	}
	if (good && in.n == 0 && first == TAG_VERSION)
		return 0;
	g->closed_until_day = (uint32_t)(now_s / DAY_S) + 1;
	return -EPROTO;
}

struct slice report_kind_name(enum report_kind kind)
{
	static const struct slice names[REPORT_KINDS] = {
		[REPORT_FAILURE] = SLICE_INIT("failure"), [REPORT_DELAY] = SLICE_INIT("delay"), [REPORT_SUCCESS] = SLICE_INIT("success"),
		[REPORT_REPLY] = SLICE_INIT("reply"),     [REPORT_INNER] = SLICE_INIT("inner"),
	};
	return names[kind];
}
