/* From leaves to parcels. */
#include "delivery/mailbox_sort.h"

#include <errno.h>

#include "base/mem.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir_parcel.h"
#include "delivery/mbox_parcel.h"
#include "delivery/program_parcel.h"
#include "delivery/system_parcel.h"

struct sorting {
	const struct parcel_sorter *in;
	struct mailbox_store **stores;     /* of each leaf; NULL: not a Maildir, or taken already */
	struct parcel **parcels;
	size_t count;
	bool pen_used;
};

static void add_maildirs(struct sorting *s, struct mailbox_store *store, const size_t *members, size_t count)
{
	const struct parcel_sorter *in = s->in;
	const struct mailbox_leaf **leaves = mem_new_array(count, sizeof *leaves);
	struct mailbox_leaf_result **results = mem_new_array(count, sizeof *results);
	for (size_t i = 0; i < count; i++) {
		leaves[i] = &in->leaves[members[i]];
		results[i] = &in->results[members[i]];
	}
	struct maildir_parcel_place where = { in->house->stores->root, in->house->host, store };
	bool use_pen = in->content->pen && in->pen_store == store && !s->pen_used;
	s->pen_used |= use_pen;
	s->parcels[s->count++] = maildir_parcel_new(&where, in->content, leaves, results, count, use_pen);
}

/* All leaves from `first` on that lie on its store; only itself where one file can't have many names. */
static void gather(struct sorting *s, size_t first, size_t *members)
{
	struct mailbox_store *store = s->stores[first];
	size_t n = 0;
	for (size_t i = first; i < s->in->count && (n == 0 || store->store.way != PEN_RENAME); i++) {
		if (s->stores[i] == store) {
			members[n++] = i;
			s->stores[i] = NULL;
		}
	}
	add_maildirs(s, store, members, n);
}

/* Two names of one mbox would wait for each other's lock. */
static bool is_repeated(const struct parcel_sorter *in, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (in->leaves[k].kind == in->leaves[i].kind && slice_eq(in->leaves[k].place, in->leaves[i].place))
			return true;
	return false;
}

static bool set_store(struct sorting *s, size_t i, struct mail_status *why)
{
	s->stores[i] = mailbox_stores_find(s->in->house->stores, s->in->leaves[i].place);
	*why = mailbox_status_of(-EINVAL);
	return s->stores[i] != NULL;
}

static bool add_system(struct sorting *s, size_t i, struct mail_status *why)
{
	const struct parcel_sorter *in = s->in;
	if (in->house->home) {
		in->leaves[i].place = SLICE("Maildir");
		return set_store(s, i, why);
	}
	if (!is_repeated(in, i))
		s->parcels[s->count++] = system_parcel_new(in->house, in->content, &in->leaves[i], &in->results[i]);
	return true;
}

/* Programs commit first, and only one thing can be the first. */
static bool add_program(struct sorting *s, size_t i, struct mail_status *why)
{
	const struct parcel_sorter *in = s->in;
	*why = MAIL_STATUS(MAIL_LATER, 452, 5, 3, "Send to this recipient separately");
	for (size_t k = 0; k < i; k++)
		if (in->leaves[k].kind == LEAF_PROGRAM)
			return false;
	s->parcels[s->count++] = program_parcel_new(in->house, in->content, &in->leaves[i], &in->results[i]);
	return true;
}

static bool add_leaf(struct sorting *s, size_t i, struct mail_status *why)
{
	const struct parcel_sorter *in = s->in;
	switch (in->leaves[i].kind) {
	case LEAF_MAILDIR:
		return set_store(s, i, why);
	case LEAF_MBOX:
		if (!is_repeated(in, i))
			s->parcels[s->count++] = mbox_parcel_new(in->house, in->content, &in->leaves[i], &in->results[i]);
		return true;
	case LEAF_SYSTEM:
		return add_system(s, i, why);
	case LEAF_PROGRAM:
		return add_program(s, i, why);
	case LEAF_LMTP:
	case LEAF_HOP:
		break;
	}
	*why = MAIL_STATUS(MAIL_LATER, 451, 3, 5, "This kind of mailbox is not served here");
	return false;
}

static bool add_leaves(struct sorting *s, struct mail_status *why)
{
	for (size_t i = 0; i < s->in->count; i++)
		if (!add_leaf(s, i, why))
			return false;
	return true;
}

static void gather_all(struct sorting *s)
{
	size_t *members = mem_new_array(s->in->count, sizeof *members);
	for (size_t i = 0; i < s->in->count; i++)
		if (s->stores[i])
			gather(s, i, members);
	mem_free(members);
}

static void drop_all(struct sorting *s)
{
	for (size_t i = 0; i < s->count; i++)
		s->parcels[i]->kind->free(s->parcels[i]);
	mem_free(s->parcels);
}

bool parcel_sort(const struct parcel_sorter *in, struct parcel ***parcels, size_t *count, struct mail_status *why)
{
	struct sorting s = { .in = in };
	s.stores = mem_new_array(in->count, sizeof *s.stores);
	s.parcels = mem_new_array(in->count, sizeof *s.parcels);
	bool ok = add_leaves(&s, why);
	if (ok) {
		gather_all(&s);
		*parcels = s.parcels;
		*count = s.count;
	} else {
		drop_all(&s);
	}
	mem_free(s.stores);
	return ok;
}
