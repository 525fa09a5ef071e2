/* What all kinds of parcels share: how a step is answered. */
#include "delivery/mailbox_parcel.h"

#include "base/mem.h"

static bool told_by_a_leaf(const struct parcel *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->results[i]->status.fate != MAIL_OK)
			return true;
	return false;
}

void parcel_answer(struct parcel *p, struct mail_status status)
{
	p->status = status;
	p->failed = status.fate != MAIL_OK;
	bool everyone = p->failed && !told_by_a_leaf(p);
	for (size_t i = 0; i < p->count && everyone; i++)
		p->results[i]->status = status;
	p->on_step(p->arg, p);
}

void parcel_init(struct parcel *p, const struct parcel_kind *kind, const struct parcel_content *content, const struct mailbox_leaf *leaf,
                 struct mailbox_leaf_result *result)
{
	*p = (struct parcel){ .kind = kind, .content = content, .count = 1 };
	p->leaves = mem_new_array(1, sizeof *p->leaves);
	p->results = mem_new_array(1, sizeof *p->results);
	p->leaves[0] = leaf;
	p->results[0] = result;
}
