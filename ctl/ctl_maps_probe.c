/* prove --probe: a random name at each next hop, asked as RCPT would ask (ctl/explain_hop). */
#include "ctl/ctl_maps_probe.h"

#include "base/unique.h"
#include "ctl/explain_hop.h"
#include "maps/map_value.h"

struct probing {
	struct ctl *c;
	struct map_set *set;
	struct arena mem;
	void (*found)(void *arg, const struct prove_finding *f);
	void *arg;
	struct prove_summary *sum;
	enum prove_grade worst;
};

static void tell(struct probing *p, enum prove_grade grade, const struct map_entry *e, struct slice text)
{
	struct prove_finding f = { grade, SLICE("domains"), e->line, e->key, text, SLICE("") };
	p->found(p->arg, &f);
	*(grade == PROVE_NOTE ? &p->sum->notes : grade == PROVE_UNSURE ? &p->sum->unsure : &p->sum->refuted) += 1;
	if (grade > p->worst)
		p->worst = grade;
}

static void tell_unsure(struct probing *p, const struct map_entry *e, const struct mail_status *said)
{
	struct buf text = BUF_INIT(1024);
	buf_addf(&text, "the next hop did not say whether it takes a recipient of a random name: %u %.*s", said->code, SLICE_FMT(said->text));
	tell(p, PROVE_UNSURE, e, buf_slice(&text));
	buf_free(&text);
}

/* The way that this domain's mail takes, for an address that nobody has. A map of recipients would not let it through, so it is not asked. */
static bool make_leaf(struct probing *p, const struct map_entry *e, const struct map_domain *d, struct leaf *out)
{
	struct unique name = unique_new();
	struct buf b = BUF_INIT(1024);
	struct resolved r;
	buf_addf(&b, "probe-%s", name.text);
	struct mail_path path = { arena_copy(&p->mem, buf_slice(&b)), e->key, false };
	if (d->ask)
		resolve_path(p->set, &path, false, &p->mem, &r);
	if (d->ask && r.count == 1 && r.leaves[0].kind == LEAF_HOP) {
		*out = r.leaves[0];
	} else {
		*out = (struct leaf){ .kind = LEAF_HOP, .domain = e->key, .place = d->target, .route = SLICE(""), .owner = SLICE(""), .relayed = true };
		buf_addf(&b, "@%.*s", SLICE_FMT(e->key));
		out->address = arena_copy(&p->mem, buf_slice(&b));
		buf_clear(&b);
		buf_addf(&b, "mx:%.*s", SLICE_FMT(e->key));
		if (slice_eq(d->target, SLICE("mx:")))
			out->place = arena_copy(&p->mem, buf_slice(&b));
	}
	buf_free(&b);
	return explain_hop_can(p->c, out);
}

static bool each_domain(void *arg, const struct map_entry *e)
{
	static const struct mail_path nobody;
	struct probing *p = arg;
	struct map_domain d;
	struct leaf leaf;
	if (e->key.p[0] == '.' || map_domain_parse(e->value, &p->mem, &d) || d.kind != DOMAIN_RELAY)
		return true;
	const struct explain_hop_question q = { &leaf, &nobody, 0, EVIDENCE_NONE };
	bool down = true;
	struct mail_status said = MAIL_STATUS(MAIL_LATER, 451, 7, 0, "its route names credentials, which are the login process's alone");
	if (make_leaf(p, e, &d, &leaf))
		said = explain_hop(p->c, &q, &down);
	if (down || said.fate == MAIL_LATER)
		tell_unsure(p, e, &said);
	else if (said.fate == MAIL_OK && d.ask)
		tell(p, PROVE_REFUTED, e, SLICE("the next hop takes a recipient of a random name: it accepts everybody and would have to report later; name a map of recipients there, or mend it"));
	else if (said.fate == MAIL_OK)
		tell(p, PROVE_NOTE, e, SLICE("the next hop takes a recipient of a random name: the map of recipients alone keeps unknown ones out"));
	arena_reset(&p->mem);
	return true;
}

enum prove_grade maps_probe(struct ctl *c, struct map_set *set, void (*found)(void *arg, const struct prove_finding *f), void *arg, struct prove_summary *sum)
{
	struct probing p = { .c = c, .set = set, .mem = ARENA_INIT(1 << 20), .found = found, .arg = arg, .sum = sum };
	if (map_each(set, MAP_DOMAINS, each_domain, &p) == UNSURE)
		p.worst = PROVE_UNSURE;
	arena_free(&p.mem);
	return p.worst;
}
