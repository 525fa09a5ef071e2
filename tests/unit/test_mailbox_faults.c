/* Promises under failure: whichever file system call of a transaction fails, the answer is a 4xx and nothing is there, or a 250 and it is
 * there. And the order in which things become durable, seen through the hook of base/file: the content before its name exists, the name
 * before anybody is told. */
#include "tests/unit/mailbox_kit.h"

#include <pthread.h>

#define HELLO SLICE("Subject: hello\n\nHello, world.\n")

/* ---- one call fails ---- */

struct fault {
	pthread_mutex_t lock;
	int countdown;                /* this many calls go well first; -1: all */
	int error;
	bool hit;
	bool spoiled_unlink;          /* the failure was in removing a staged name */
	enum { STORE_RICH, STORE_NO_UNNAMED, STORE_NO_LINK } store;
};

static struct fault fault = { .lock = PTHREAD_MUTEX_INITIALIZER, .countdown = -1 };

/* A file system that lacks things, and on top of it the one failure. */
static int lacks(enum file_call call, const char *name)
{
	if (fault.store >= STORE_NO_UNNAMED && call == FILE_OPEN && name && strcmp(name, ".") == 0)
		return -EOPNOTSUPP;
	return fault.store >= STORE_NO_LINK && call == FILE_LINK ? -EPERM : 0;
}

static int fail_one(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	int error = lacks(call, name);
	(void)arg, (void)fd, (void)dir;
	pthread_mutex_lock(&fault.lock);
	if (error == 0 && fault.countdown == 0) {
		error = fault.error;
		fault.hit = true;
		fault.spoiled_unlink = call == FILE_UNLINK;
		fault.countdown = -1;
	} else if (error == 0 && fault.countdown > 0) {
		fault.countdown--;
	}
	pthread_mutex_unlock(&fault.lock);
	return error;
}

static void arm(int countdown, int error)
{
	pthread_mutex_lock(&fault.lock);
	fault.countdown = countdown;
	fault.error = error;
	fault.hit = fault.spoiled_unlink = false;
	pthread_mutex_unlock(&fault.lock);
}

/* A name in tmp/ that could not be removed is for the sweep of the next start, which knows it by its form. */
static void sweep_as_the_next_start_would(const struct kit *k)
{
	char command[256];
	snprintf(command, sizeof command, "rm -f %s/d/?/tmp/[0-9]*.M*P*Q*_fault.host.test,S=*", k->root);
	assert_int_equal(system(command), 0);
}

static void nothing_is_left_but(const struct kit *k, int messages)
{
	static const char *const boxes[] = { "d/u", "d/v", "d/w" };
	char folder[32];
	for (size_t i = 0; i < 3; i++) {
		snprintf(folder, sizeof folder, "%s/new", boxes[i]);
		assert_int_equal(kit_count(k, folder), messages);
		snprintf(folder, sizeof folder, "%s/cur", boxes[i]);
		assert_int_equal(kit_count(k, folder), 0);
		snprintf(folder, sizeof folder, "%s/tmp", boxes[i]);
		assert_int_equal(kit_count(k, folder), 0);
	}
}

/* One transaction for three mailboxes with the n-th call failing. True: the fault was met. */
static bool one_round(struct kit *k, int n, int error, bool hold, int *messages)
{
	struct mailbox_leaf leaves[3] = { kit_maildir("d/u"), kit_maildir("d/v"), kit_maildir("d/w") };
	leaves[1].quota_messages = 100000;
	arm(n, error);
	enum mail_fate fate = kit_deliver(k, "fault", leaves, 3, HELLO, hold);
	if (fate == MAIL_OK && hold) {
		kit_tell(k, MAILBOX_COMMIT, "fault");
		fate = k->delivered.status.fate;
	}
	bool hit = fault.hit;
	if (fault.spoiled_unlink)
		sweep_as_the_next_start_would(k);
	arm(-1, 0);
	kit_wait_idle(k);
	assert_int_not_equal(fate, MAIL_NEVER);
	*messages += fate == MAIL_OK;
	for (size_t i = 0; i < 3 && fate == MAIL_OK; i++)
		assert_int_equal(k->delivered.leaves[i].status.fate, MAIL_OK);
	nothing_is_left_but(k, *messages);
	return hit;
}

static void fault_loop(int store)
{
	static const int errors[] = { -ENOSPC, -EIO, -EMFILE };
	static struct kit k;
	for (size_t e = 0; e < 6; e++) {
		int messages = 0, n = 0;
		fault.store = store;
		arm(-1, 0);
		file_test_hook(fail_one, NULL);
		kit_start(&k, NULL);
		while (one_round(&k, n, errors[e % 3], e >= 3, &messages))
			assert_true(++n < 500);
		assert_true(n > 10 && messages > 0);
		file_test_hook(NULL, NULL);
		kit_end(&k);
	}
}

static void any_failing_call_is_4xx_with_nothing_left_or_250_and_kept(void **state)
{
	(void)state;
	fault_loop(STORE_RICH);
}

static void the_same_on_a_store_that_keeps_order(void **state)
{
	(void)state;
	file_test_order(true);
	fault_loop(STORE_RICH);
	fault_loop(STORE_NO_UNNAMED);
	file_test_order(false);
}

static void the_same_on_a_store_without_unnamed_files(void **state)
{
	(void)state;
	fault_loop(STORE_NO_UNNAMED);
}

static void the_same_on_a_store_without_links(void **state)
{
	(void)state;
	fault_loop(STORE_NO_LINK);
}

/* ---- the order ---- */

enum { MAX_FILES = 4096 };

struct file_state {
	ino_t inode;
	char name[200];
	ino_t folder;
	bool arrived, content_durable, name_durable; /* arrived: on the device, perhaps in its cache */
};

static struct {
	pthread_mutex_t lock;
	struct file_state files[MAX_FILES];
	size_t count, published, answered;
	const char *broken;            /* the first rule that was broken */
} order = { .lock = PTHREAD_MUTEX_INITIALIZER };

static ino_t inode_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static struct file_state *file_of(ino_t inode)
{
	for (size_t i = order.count; i > 0; i--)
		if (order.files[i - 1].inode == inode && order.files[i - 1].name[0] == '\0')
			return &order.files[i - 1];
	return NULL;
}

static void note_write(int fd)
{
	ino_t inode = inode_of(fd);
	if (file_of(inode) == NULL && order.count < MAX_FILES)
		order.files[order.count++] = (struct file_state){ .inode = inode };
}

static void note_publish(int fd, int dir, const char *name)
{
	struct file_state *f = file_of(inode_of(fd));
	if (f == NULL || !(f->content_durable || f->arrived))
		order.broken = "a name was given to content that was not durable, nor would be with the name";
	if (f == NULL)
		return;
	snprintf(f->name, sizeof f->name, "%s", name);
	f->folder = inode_of(dir);
	order.published++;
}

static void note_sync(enum file_call call, int fd)
{
	ino_t inode = call == FILE_SYNC_STORE ? 0 : inode_of(fd);
	for (size_t i = 0; i < order.count; i++) {
		struct file_state *f = &order.files[i];
		if (call == FILE_SYNC_STORE || (call == FILE_SYNC_DATA && f->inode == inode))
			f->content_durable = true;
		if (f->name[0] && (call == FILE_SYNC_STORE || (call == FILE_SYNC && f->folder == inode)))
			f->name_durable = true;
	}
}

static void note_await(int fd)
{
	struct file_state *f = file_of(inode_of(fd));
	if (f)
		f->arrived = true;
}

/* What ended before the mark is durable with it. */
static void note_sync_order(void)
{
	for (size_t i = 0; i < order.count; i++) {
		struct file_state *f = &order.files[i];
		f->content_durable |= f->arrived;
		f->name_durable |= f->name[0] != '\0';
	}
}

static int note(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	(void)arg;
	pthread_mutex_lock(&order.lock);
	if (call == FILE_WRITE)
		note_write(fd);
	else if (call == FILE_PUBLISH && name[0] != '.')
		note_publish(fd, dir, name);
	else if (call == FILE_SYNC || call == FILE_SYNC_DATA || call == FILE_SYNC_STORE)
		note_sync(call, fd);
	else if (call == FILE_AWAIT)
		note_await(fd);
	else if (call == FILE_SYNC_ORDER)
		note_sync_order();
	pthread_mutex_unlock(&order.lock);
	return 0;
}

static bool is_durable(struct slice name)
{
	for (size_t i = 0; i < order.count; i++)
		if (slice_eq(slice_of(order.files[i].name), name))
			return order.files[i].name_durable && order.files[i].content_durable;
	return false;
}

static void check_answer(struct kit *k, uint64_t id, const struct mailbox_delivered *d)
{
	(void)k, (void)id;
	pthread_mutex_lock(&order.lock);
	assert_int_equal(d->status.fate, MAIL_OK);
	assert_true(is_durable(d->leaves[0].name));
	order.answered++;
	pthread_mutex_unlock(&order.lock);
}

/* At every moment, so for every prefix of the calls: what was answered is on disk. */
static void answers_in_order(bool keeps_order)
{
	static struct kit k;
	char id[32], place[16];
	order.count = order.published = order.answered = 0;
	file_test_order(keeps_order);
	fault.store = STORE_RICH;
	file_test_hook(note, NULL);
	kit_start(&k, NULL);
	k.on_delivered = check_answer;
	for (int burst = 0; burst < 60; burst++) {
		int size = burst % 3 == 0 ? 1 : burst;
		for (int i = 0; i < size; i++) {
			snprintf(id, sizeof id, "o%dx%d", burst, i);
			snprintf(place, sizeof place, "d/u%d", rand() % 20);
			struct mailbox_leaf leaf = kit_maildir(place);
			kit_send(&k, id, &leaf, 1, HELLO, false);
			if (rand() % 4 == 0)
				kit_idle(&k, 0);
		}
		kit_run(&k);
	}
	file_test_hook(NULL, NULL);
	assert_null(order.broken);
	assert_true(order.answered > 1000);
	assert_int_equal(order.published, order.answered);
	kit_end(&k);
}

static void whatever_was_answered_is_durable_and_no_name_precedes_its_content(void **state)
{
	(void)state;
	answers_in_order(false);
}

static void also_on_a_store_that_keeps_order(void **state)
{
	(void)state;
	answers_in_order(true);
}

int main(void)
{
	file_test_order(false);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_failing_call_is_4xx_with_nothing_left_or_250_and_kept),
		cmocka_unit_test(the_same_on_a_store_that_keeps_order),
		cmocka_unit_test(the_same_on_a_store_without_unnamed_files),
		cmocka_unit_test(the_same_on_a_store_without_links),
		cmocka_unit_test(whatever_was_answered_is_durable_and_no_name_precedes_its_content),
		cmocka_unit_test(also_on_a_store_that_keeps_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
