/* Files for a body that outgrew memory: one in each form that is wanted, opened by the destinations. */
#include <unistd.h>

#include "base/mem.h"
#include "smtpd/check.h"
#include "smtpd/received.h"
#include "smtpd/smtpd.h"
#include "smtpd/transaction_inside.h"

void transaction_drop_pens(struct transaction *t)
{
	for (size_t i = 0; i < t->pen_count; i++)
		if (t->pens[i].fd >= 0)
			close(t->pens[i].fd);
	t->pen_count = 0;
}

/* An answer that must not come from inside the asking; the transaction may be gone by then. */
struct later_answer {
	struct transaction *to;
};

void transaction_forget_later(struct transaction *t)
{
	if (t->later)
		t->later->to = NULL;
	t->later = NULL;
}

/* Room for what checks may still add; none where nobody looks. */
static size_t room_for_fields(const struct transaction *t)
{
	return checks_add_fields(t->session->checks) || t->facts.tag_count ? MESSAGE_ROOM : 0;
}

static void use_pens(struct transaction *t)
{
	struct buf path = BUF_INIT(2048);
	return_path_print(&path, &t->facts);
	if (t->rewriting) {
		struct message_pen pens[MESSAGE_MAX_SPILLS];
		for (size_t i = 0; i < t->pen_count; i++)
			pens[i] = (struct message_pen){ t->pens[i].fd, t->pens[i].lf, t->pens[i].start };
		message_rewrite(&t->message, pens, t->pen_count, buf_slice(&path));
	} else {
		for (size_t i = 0; i < t->pen_count; i++)
			message_spill(&t->message, t->pens[i].fd, t->pens[i].lf, t->pens[i].start, t->pens[i].lf ? buf_slice(&path) : SLICE_NONE, room_for_fields(t));
		message_spilled(&t->message);
	}
	t->pen_count = 0;
	buf_free(&path);
}

static void pens_answered(struct transaction *t)
{
	if (t->pen_status.fate == MAIL_OK)
		use_pens(t);
	else
		transaction_drop_pens(t);
	t->files_ready(t->session, t->pen_status);
}

void transaction_pen(struct destination *d, struct mail_status status, int fd, uint64_t start)
{
	struct transaction *t = d->transaction;
	for (size_t i = 0; i < t->pen_count; i++)
		if (t->pens[i].from == d)
			t->pens[i].fd = fd, t->pens[i].start = start;
	if (status.fate != MAIL_OK)
		t->pen_status = mail_status_copy(&t->mem, status);
	if (--t->pens_wanted == 0)
		pens_answered(t);
}

static void answer_pens_now(void *arg)
{
	struct later_answer *l = arg;
	struct transaction *t = l->to;
	mem_free(l);
	if (!t)
		return;
	t->later = NULL;
	pens_answered(t);
}

static void answer_pens_later(struct transaction *t)
{
	t->later = MEM_NEW(struct later_answer);
	t->later->to = t;
	loop_later(t->session->smtpd->loop, answer_pens_now, t->later);
}

/* One file in each form that is wanted. */
static void want_pen(struct transaction *t, struct destination *d)
{
	for (size_t i = 0; i < t->pen_count; i++)
		if (t->pens[i].lf == d->kind->lf)
			return;
	t->pens[t->pen_count++] = (struct pen_slot){ d, -1, d->kind->lf, 0 };
}

bool transaction_has_files(const struct transaction *t)
{
	int fd;
	uint64_t start, length;
	for (size_t i = 0; i < t->destination_count; i++) {
		const struct destination_kind *kind = t->destinations[i]->kind;
		if (kind->open_pen && kind->has_any(t->destinations[i]) && !message_spill_file(&t->message, kind->lf, &fd, &start, &length))
			return false;
	}
	return true;
}

void transaction_open_files(struct transaction *t, void (*ready)(struct session *s, struct mail_status status))
{
	t->files_ready = ready;
	t->pen_status = MAIL_STATUS_OK;
	t->pen_count = 0;
	for (size_t i = 0; i < t->destination_count; i++)
		if (t->destinations[i]->kind->open_pen && t->destinations[i]->kind->has_any(t->destinations[i]))
			want_pen(t, t->destinations[i]);
	t->pens_wanted = t->pen_count + 1; /* our own word keeps answers from inside until all were asked */
	if (!t->pen_count)
		t->pen_status = DISK_TROUBLE;
	for (size_t i = 0, n = t->pen_count; i < n; i++)
		t->pens[i].from->kind->open_pen(t->pens[i].from, t->facts.announced);
	if (--t->pens_wanted == 0)
		answer_pens_later(t);
}
