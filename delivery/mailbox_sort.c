/* From leaves to parcels. */
#include "delivery/mailbox_sort.h"

#include <errno.h>

#include "base/mem.h"
#include "delivery/mailbox_status.h"
#include "delivery/maildir_parcel.h"

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

static bool find_stores(struct sorting *s, struct mail_status *why)
{
	const struct parcel_sorter *in = s->in;
	for (size_t i = 0; i < in->count; i++) {
		if (in->leaves[i].kind != LEAF_MAILDIR) {
			*why = MAIL_STATUS(MAIL_LATER, 451, 3, 5, "This kind of mailbox is not served here");
			return false;
		}
		s->stores[i] = mailbox_stores_find(in->house->stores, in->leaves[i].place);
		if (s->stores[i] == NULL) {
			*why = mailbox_status_of(-EINVAL);
			return false;
		}
	}
	return true;
}

bool parcel_sort(const struct parcel_sorter *in, struct parcel ***parcels, size_t *count, struct mail_status *why)
{
	struct sorting s = { .in = in, .stores = mem_new_array(in->count, sizeof *s.stores) };
	bool ok = find_stores(&s, why);
	if (ok) {
		size_t *members = mem_new_array(in->count, sizeof *members);
		s.parcels = mem_new_array(in->count, sizeof *s.parcels);
		for (size_t i = 0; i < in->count; i++)
			if (s.stores[i])
				gather(&s, i, members);
		mem_free(members);
		*parcels = s.parcels;
		*count = s.count;
	}
	mem_free(s.stores);
	return ok;
}
