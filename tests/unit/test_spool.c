#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/loop.h"
#include "base/unique.h"
#include "queue/spool.h"

static char root[64];
static struct loop *loop;
static struct spool *spool;
static struct envelope_recipient to = { .address = SLICE_INIT("ann@far.test"), .place = SLICE_INIT("mx:far.test"), .way = WAY_FOREIGN };
static int last_error;

static void reopen(void)
{
	int dir;
	if (spool)
		spool_close(spool);
	assert_int_equal(file_open(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, &dir), 0);
	assert_int_equal(spool_open(loop, dir, &spool), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof root, "/tmp/porter-spool-XXXXXX");
	assert_non_null(mkdtemp(root));
	loop = loop_new();
	reopen();
	return 0;
}

static int tear_down(void **state)
{
	char command[128];
	(void)state;
	spool_close(spool);
	spool = NULL;
	loop_free(loop);
	snprintf(command, sizeof command, "rm -r %s", root);
	return system(command);
}

static struct envelope envelope(const struct unique *id)
{
	return (struct envelope){ .id = unique_slice(id), .arrived_s = 1000, .expires_s = 2000, .evidence = { EVIDENCE_AUTH, SLICE("alice"), SLICE("login") },
		.reverse_path = SLICE("alice@example.test"), .recipients = &to, .recipient_count = 1 };
}

static void put_done(struct spool_put *p)
{
	last_error = p->job.error;
	loop_stop(loop);
}

static void put(const struct unique *id, struct slice content)
{
	struct envelope e = envelope(id);
	struct spool_put p = { .envelope = &e, .pen = PEN_NONE, .copy = -1, .content = content, .done = put_done };
	spool_put(spool, &p, SYNCER_DELIVER);
	loop_run(loop);
	assert_int_equal(last_error, 0);
}

static void path_of(const struct unique *id, char out[200])
{
	snprintf(out, 200, "%s/queue/%s/%s", root, id->text + UNIQUE_LENGTH - 2, id->text);
}

static int look(const struct unique *id, const char **why)
{
	struct buf raw = BUF_INIT(88 << 20);
	struct arena mem = ARENA_INIT(16 << 20);
	struct spool_message m;
	int error = spool_read(spool, SPOOL_QUEUE, unique_slice(id), &raw, &mem, &m, why);
	if (error == 0)
		close(m.fd);
	arena_free(&mem);
	buf_free(&raw);
	return error;
}

static void what_is_put_in_is_there_after_a_restart(void **state)
{
	struct unique id = unique_new();
	struct buf raw = BUF_INIT(88 << 20);
	struct arena mem = ARENA_INIT(16 << 20);
	struct spool_message m;
	const char *why;
	char content[32] = "";
	(void)state;
	put(&id, SLICE("Subject: x\r\n\r\nhello\r\n"));
	reopen();
	assert_int_equal(spool_read(spool, SPOOL_QUEUE, unique_slice(&id), &raw, &mem, &m, &why), 0);
	assert_int_equal(m.content_length, 21);
	assert_int_equal(pread(m.fd, content, 21, (off_t)m.content_offset), 21);
	assert_string_equal(content, "Subject: x\r\n\r\nhello\r\n");
	assert_true(slice_eq(m.envelope.recipients[0].address, to.address));
	assert_int_equal(m.state.waiting, 1);
	close(m.fd);
	arena_free(&mem);
	buf_free(&raw);
}

static void a_large_message_is_read_like_a_small_one(void **state)
{
	struct unique id = unique_new();
	struct buf content = BUF_INIT(1 << 20);
	const char *why;
	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_add(&content, SLICE("a line of text\r\n"));
	put(&id, buf_slice(&content));
	assert_int_equal(look(&id, &why), 0);
	buf_free(&content);
}

static void what_was_prepared_and_dropped_leaves_nothing(void **state)
{
	struct unique id = unique_new();
	struct envelope e = envelope(&id);
	struct spool_put p = { .envelope = &e, .pen = PEN_NONE, .copy = -1, .content = SLICE("x\r\n"), .done = put_done };
	const char *why;
	(void)state;
	spool_put(spool, &p, SYNCER_PREPARE);
	loop_run(loop);
	assert_int_equal(last_error, 0);
	assert_int_equal(look(&id, &why), -ENOENT);
	spool_put_drop(&p);
	assert_int_equal(look(&id, &why), -ENOENT);
}

/* What spool_verify says of a message as it lies there. */
static int verify(const struct unique *id, bool *has_check)
{
	struct buf raw = BUF_INIT(88 << 20);
	struct arena mem = ARENA_INIT(16 << 20);
	struct spool_message m;
	const char *why = NULL;
	assert_int_equal(spool_read(spool, SPOOL_QUEUE, unique_slice(id), &raw, &mem, &m, &why), 0);
	int error = spool_verify(&m, &why);
	*has_check = m.has_check;
	if (error)
		assert_string_equal(why, "the content is damaged");
	close(m.fd);
	arena_free(&mem);
	buf_free(&raw);
	return error;
}

static void flip(const struct unique *id, off_t at)
{
	char path[200], byte;
	path_of(id, path);
	int fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 4;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void content_of(struct buf *out, size_t n)
{
	while (out->n < n)
		buf_addf(out, "line %zu of a message\r\n", out->n);
	buf_truncate(out, n);
}

static void altered_content_is_found_before_it_is_delivered(void **state)
{
	static const size_t sizes[] = { 1, 300, 8000, 65536, 65537, 200000 };
	bool has_check;
	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct buf content = BUF_INIT(1 << 20);
		struct unique id = unique_new();
		content_of(&content, sizes[i]);
		put(&id, buf_slice(&content));
		assert_int_equal(verify(&id, &has_check), 0);
		assert_true(has_check);
		const off_t places[] = { 0, (off_t)sizes[i] / 2, (off_t)sizes[i] - 1 };
		for (size_t k = 0; k < 3; k++) {
			flip(&id, SPOOL_HEAD + places[k]);
			assert_int_equal(verify(&id, &has_check), -EBADMSG);
			flip(&id, SPOOL_HEAD + places[k]);
		}
		assert_int_equal(verify(&id, &has_check), 0);
		buf_free(&content);
	}
}

/* By a pen, with a gap in front; and the copy that the next envelope gets. */
static void content_of_a_pen_is_checked_like_ones_own(void **state)
{
	enum { GAP = 5000, LENGTH = 150000 };
	struct buf content = BUF_INIT(1 << 20);
	struct unique first = unique_new(), second = unique_new();
	struct envelope e = envelope(&first), copied = envelope(&second);
	struct spool_put p = { .envelope = &e, .copy = -1, .content_offset = SPOOL_HEAD + GAP, .content_length = LENGTH, .done = put_done };
	bool has_check;
	(void)state;
	content_of(&content, LENGTH);
	assert_int_equal(spool_pen(spool, &p.pen), 0);
	assert_int_equal(pwrite(p.pen.fd, content.p, LENGTH, SPOOL_HEAD + GAP), LENGTH);
	struct spool_put copy = { .envelope = &copied, .pen = PEN_NONE, .copy = dup(p.pen.fd), .content_offset = SPOOL_HEAD + GAP, .content_length = LENGTH, .done = put_done };
	spool_put(spool, &p, SYNCER_DELIVER);
	loop_run(loop);
	assert_int_equal(last_error, 0);
	spool_put(spool, &copy, SYNCER_DELIVER);
	loop_run(loop);
	assert_int_equal(last_error, 0);
	close(copy.copy);
	assert_int_equal(verify(&first, &has_check), 0);
	assert_int_equal(verify(&second, &has_check), 0);
	assert_true(has_check);
	flip(&second, SPOOL_HEAD + GAP + LENGTH - 1);
	assert_int_equal(verify(&second, &has_check), -EBADMSG);
	buf_free(&content);
}

/* A file of version 1, as 40 bytes of head and their checksum made it. */
static void a_message_of_the_first_version_is_read(void **state)
{
	struct unique id = unique_new();
	char path[200], head[SPOOL_HEAD];
	const char *why;
	bool has_check;
	(void)state;
	put(&id, SLICE("Subject: x\r\n\r\nhello\r\n"));
	path_of(&id, path);
	int fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, head, SPOOL_HEAD, 0), SPOOL_HEAD);
	assert_int_equal(head[7], 2);
	head[7] = 1;
	memset(head + 40, 0, SPOOL_HEAD - 40);
	uint64_t check = journal_checksum(slice(head, 40));
	for (int i = 0; i < 8; i++)
		head[40 + i] = (char)(check >> (56 - 8 * i));
	assert_int_equal(pwrite(fd, head, SPOOL_HEAD, 0), SPOOL_HEAD);
	close(fd);
	assert_int_equal(look(&id, &why), 0);
	assert_int_equal(verify(&id, &has_check), 0);
	assert_false(has_check);
	flip(&id, 20);
	assert_int_equal(look(&id, &why), -EBADMSG);
}

static void append_done(struct spool_append *a)
{
	last_error = a->job.error;
	loop_stop(loop);
}

static void events_are_appended_and_folded(void **state)
{
	struct unique id = unique_new();
	struct spool_append a = { .records = BUF_INIT(1 << 16), .done = append_done };
	struct event e = { .kind = EVENT_DONE, .at_s = 1100, .status = MAIL_STATUS_OK };
	struct buf raw = BUF_INIT(88 << 20);
	struct arena mem = ARENA_INIT(16 << 20);
	struct spool_message m;
	const char *why;
	(void)state;
	put(&id, SLICE("x\r\n"));
	event_put(&a.records, &e);
	memcpy(a.id, id.text, sizeof id.text);
	spool_append(spool, &a, true);
	loop_run(loop);
	assert_int_equal(last_error, 0);
	assert_int_equal(spool_read(spool, SPOOL_QUEUE, unique_slice(&id), &raw, &mem, &m, &why), 0);
	assert_int_equal(m.state.waiting, 0);
	close(m.fd);
	buf_free(&a.records);
	buf_free(&raw);
	arena_free(&mem);
}

static int append(const struct unique *id, enum event_kind kind)
{
	struct spool_append a = { .records = BUF_INIT(1 << 16), .done = append_done };
	struct event e = { .kind = kind, .at_s = 1100, .status = MAIL_STATUS_OK };
	event_put(&a.records, &e);
	memcpy(a.id, id->text, sizeof id->text);
	spool_append(spool, &a, true);
	loop_run(loop);
	buf_free(&a.records);
	return last_error;
}

/* A crash in the middle of an event; what is appended later must not lie behind what nobody reads. */
static void what_is_appended_after_a_torn_end_is_read(void **state)
{
	struct unique id = unique_new();
	struct buf raw = BUF_INIT(88 << 20);
	struct arena mem = ARENA_INIT(16 << 20);
	struct spool_message m;
	const char *why;
	char path[200];
	struct stat st;
	(void)state;
	put(&id, SLICE("x\r\n"));
	assert_int_equal(append(&id, EVENT_LATER), 0);
	path_of(&id, path);
	assert_int_equal(stat(path, &st), 0);
	for (off_t cut = 1; cut < 40; cut += 13) {
		assert_int_equal(append(&id, EVENT_LATER), 0);
		assert_int_equal(truncate(path, st.st_size + cut), 0);
		assert_int_equal(spool_read(spool, SPOOL_QUEUE, unique_slice(&id), &raw, &mem, &m, &why), 0);
		close(m.fd);
		assert_true(m.torn);
		assert_int_equal(m.sound_size, st.st_size);
		assert_int_equal(spool_cut(spool, unique_slice(&id), m.sound_size), 0);
		arena_reset(&mem);
	}
	assert_int_equal(append(&id, EVENT_DONE), 0);
	assert_int_equal(spool_read(spool, SPOOL_QUEUE, unique_slice(&id), &raw, &mem, &m, &why), 0);
	close(m.fd);
	assert_false(m.torn);
	assert_int_equal(m.state.waiting, 0);
	buf_free(&raw);
	arena_free(&mem);
}

/* A full disk takes half an event: nothing of it stays. */
static void an_event_that_is_written_in_part_is_taken_back(void **state)
{
	struct unique id = unique_new();
	struct rlimit before, small;
	char path[200];
	struct stat st, now;
	(void)state;
	put(&id, SLICE("x\r\n"));
	path_of(&id, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){ (rlim_t)st.st_size + 10, before.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int error = append(&id, EVENT_DONE);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(error, -EFBIG);
	assert_int_equal(stat(path, &now), 0);
	assert_int_equal(now.st_size, st.st_size);
}

/* Each byte in front of the content and behind it altered, each length cut: never read as a sound message with another envelope, never a crash. */
static void a_damaged_file_is_told_as_such(void **state)
{
	struct unique id = unique_new();
	char path[200], byte;
	const char *why;
	struct stat st;
	int refused = 0;
	(void)state;
	put(&id, SLICE("x\r\n"));
	path_of(&id, path);
	assert_int_equal(stat(path, &st), 0);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	for (off_t at = 0; at < st.st_size; at++) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		why = NULL;
		int error = look(&id, &why);
		bool gap_or_content = (at >= 56 && at < SPOOL_HEAD) || (at >= SPOOL_HEAD && at < SPOOL_HEAD + 3);
		assert_int_equal(error, gap_or_content ? 0 : -EBADMSG);
		assert_true(gap_or_content || why);
		refused += error != 0;
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	for (off_t n = st.st_size - 1; n >= 0; n -= 7) {
		assert_int_equal(ftruncate(fd, n), 0);
		assert_int_equal(look(&id, &why), -EBADMSG);
	}
	assert_true(refused > 100);
	close(fd);
}

static void a_link_and_a_foreign_name_are_not_followed(void **state)
{
	struct unique id = unique_new(), other = unique_new();
	char path[200], there[200], command[700];
	const char *why;
	(void)state;
	put(&id, SLICE("x\r\n"));
	path_of(&id, path);
	path_of(&other, there);
	snprintf(command, sizeof command, "mkdir -p $(dirname %s) && ln -s %s %s", there, path, there);
	assert_int_equal(system(command), 0);
	assert_int_equal(look(&other, &why), -EBADMSG);
	assert_int_equal(unlink(there), 0);
	assert_int_equal(link(path, there), 0); /* another's name: the id in the envelope says so */
	assert_int_equal(look(&other, &why), -EBADMSG);
	struct unique bad;
	snprintf(bad.text, sizeof bad.text, "../../../etc/pas");
	assert_int_equal(look(&bad, &why), -ENOENT);
}

static bool count_one(void *arg, struct slice id)
{
	(void)id;
	++*(int *)arg;
	return true;
}

static void gone_done(struct spool_gone *g)
{
	last_error = g->job.error;
	loop_stop(loop);
}

static void messages_move_and_go(void **state)
{
	struct unique id = unique_new();
	struct spool_gone g = { .done = gone_done };
	const char *why;
	int dead = 0;
	(void)state;
	put(&id, SLICE("x\r\n"));
	assert_int_equal(spool_move(spool, SPOOL_QUEUE, SPOOL_DEAD, unique_slice(&id)), 0);
	assert_int_equal(look(&id, &why), -ENOENT);
	spool_scan(spool, SPOOL_DEAD, count_one, &dead);
	assert_int_equal(dead, 1);
	assert_int_equal(spool_move(spool, SPOOL_DEAD, SPOOL_QUEUE, unique_slice(&id)), 0);
	assert_int_equal(look(&id, &why), 0);
	memcpy(g.id, id.text, sizeof id.text);
	spool_forget(spool, &g, SPOOL_QUEUE);
	loop_run(loop);
	assert_int_equal(last_error, 0);
	assert_int_equal(look(&id, &why), -ENOENT);
}

static void a_made_report_is_in_the_queue_once_it_is_adopted(void **state)
{
	struct unique id = unique_new();
	struct envelope e = envelope(&id);
	struct spool_put p = { .envelope = &e, .where = SPOOL_MADE, .pen = PEN_NONE, .copy = -1, .content = SLICE("x\r\n"), .done = put_done };
	struct spool_gone g = { .done = gone_done };
	const char *why;
	int made = 0;
	(void)state;
	spool_put(spool, &p, SYNCER_DELIVER);
	loop_run(loop);
	assert_int_equal(last_error, 0);
	assert_int_equal(look(&id, &why), -ENOENT);
	reopen();
	spool_scan(spool, SPOOL_MADE, count_one, &made);
	assert_int_equal(made, 1);
	memcpy(g.id, id.text, sizeof id.text);
	for (int i = 0; i < 2; i++) { /* the second time as after a sync that failed */
		spool_bring(spool, &g, SPOOL_MADE, SPOOL_QUEUE);
		loop_run(loop);
		assert_int_equal(last_error, 0);
		assert_int_equal(look(&id, &why), 0);
	}
	spool_scan(spool, SPOOL_MADE, count_one, &made);
	assert_int_equal(made, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_put_in_is_there_after_a_restart), TEST(a_large_message_is_read_like_a_small_one), TEST(what_was_prepared_and_dropped_leaves_nothing),
		TEST(events_are_appended_and_folded), TEST(what_is_appended_after_a_torn_end_is_read), TEST(an_event_that_is_written_in_part_is_taken_back),
		TEST(a_damaged_file_is_told_as_such), TEST(a_link_and_a_foreign_name_are_not_followed),
		TEST(messages_move_and_go), TEST(a_made_report_is_in_the_queue_once_it_is_adopted),
		TEST(altered_content_is_found_before_it_is_delivered),
		TEST(content_of_a_pen_is_checked_like_ones_own),
		TEST(a_message_of_the_first_version_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
