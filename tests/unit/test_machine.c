/* The machine: addresses, names of domains, heaps, pens, records of the login process, what a process may do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/answer.h"
#include "base/file.h"
#include "base/heap.h"
#include "base/idn.h"
#include "base/log.h"
#include "base/login_proto.h"
#include "base/mail_status.h"
#include "base/net.h"
#include "base/pen.h"
#include "base/proc.h"
#include "base/suffix.h"

/* -- addresses -- */

static struct net_ip ip(const char *text)
{
	struct net_ip out;
	assert_true(net_ip_parse(slice_of(text), &out));
	return out;
}

static void addresses_are_read_strictly_and_printed_back(void **state)
{
	static const char *const good[] = { "192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "::1" };
	static const char *const bad[] = { "192.0.2", "192.0.2.256", "192.0.2.01", "1.2.3.4 ", "2001:db8::1%eth0", "[::1]", "1.2.3.4/8", "", ":::", "1::2::3" };
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct net_ip a = ip(good[i]);
		struct buf b = BUF_INIT(100);
		assert_int_equal(net_ip_print(&b, &a), 0);
		assert_true(slice_eq(buf_slice(&b), slice_of(good[i])));
		buf_free(&b);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct net_ip a;
		assert_false(net_ip_parse(slice_of(bad[i]), &a));
	}
}

static void ranges_hold_what_is_in_them_by_family(void **state)
{
	struct net_ip network, a = ip("192.0.2.77"), b = ip("192.0.3.1"), c = ip("2001:db8::1"), d = ip("127.9.9.9");
	unsigned prefix;
	const char *why = NULL;
	(void)state;
	assert_true(net_range_parse(SLICE("192.0.2.0/24"), &network, &prefix, &why) && prefix == 24);
	assert_true(net_ip_in(&a, &network, prefix) && !net_ip_in(&b, &network, prefix) && !net_ip_in(&c, &network, prefix));
	assert_true(net_range_parse(SLICE("0.0.0.0/0"), &network, &prefix, &why) && net_ip_in(&a, &network, prefix) && !net_ip_in(&c, &network, prefix));
	assert_true(net_range_parse(SLICE("::/0"), &network, &prefix, &why) && net_ip_in(&c, &network, prefix));
	assert_true(net_range_parse(SLICE("192.0.2.1"), &network, &prefix, &why) && prefix == 32);
	assert_false(net_range_parse(SLICE("192.0.2.1/24"), &network, &prefix, &why));
	assert_non_null(why);
	assert_false(net_range_parse(SLICE("192.0.2.0/33"), &network, &prefix, &why));
	assert_true(net_ip_is_loopback(&d) && !net_ip_is_loopback(&a));
	c = ip("::1");
	assert_true(net_ip_is_loopback(&c));
}

static void endpoints_are_read_printed_and_listened_on(void **state)
{
	static const char *const good[] = { "192.0.2.1:25", "[2001:db8::1]:25", "unix:/run/x" };
	static const char *const bad[] = { "192.0.2.1", "2001:db8::1:25", "192.0.2.1:65536", "192.0.2.1:", "[::1]", "unix:", "host:25" };
	struct net_address a;
	const char *why;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct buf b = BUF_INIT(200);
		assert_true(net_address_parse(slice_of(good[i]), 0, &a, &why));
		net_address_print(&b, &a);
		assert_true(slice_eq(buf_slice(&b), slice_of(good[i])));
		buf_free(&b);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(net_address_parse(slice_of(bad[i]), 0, &a, &why));
	assert_true(net_address_parse(SLICE("127.0.0.1"), 2525, &a, &why) && net_address_port(&a) == 2525);
	struct net_ip loopback = ip("127.0.0.1"), back;
	a = net_address_of_ip(&loopback, 0);
	int fd = net_listen(&a, false, 1);
	assert_true(fd >= 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
	a.length = sizeof a.sa;
	assert_int_equal(getsockname(fd, &a.sa.any, &a.length), 0);
	back = net_ip_of(&a);
	assert_true(net_ip_is_loopback(&back) && net_address_port(&a) != 0);
	assert_int_equal(net_listen(&a, false, 1), -EADDRINUSE);
	close(fd);
}

/* -- arenas -- */

static void an_arena_goes_back_to_a_mark_whatever_was_cut_since(void **state)
{
	struct arena mem = ARENA_INIT(64 << 10);
	(void)state;
	struct arena_mark empty = arena_mark(&mem);
	for (int round = 0; round < 1000; round++) { /* in all far more than the ceiling */
		struct slice kept = arena_copy(&mem, SLICE("kept"));
		struct arena_mark m = arena_mark(&mem);
		for (int i = 0; i < 5; i++)
			assert_non_null(arena_new(&mem, i == 3 ? 5000 : 100)); /* within a chunk, in new ones, in one of its own */
		arena_back_to(&mem, m);
		assert_true(slice_eq(kept, SLICE("kept")) && mem.used == m.used);
		char *again = arena_new(&mem, 100);
		for (int i = 0; i < 100; i++)
			assert_int_equal(again[i], 0);
		arena_back_to(&mem, empty);
	}
	assert_int_equal(mem.used, 0);
	assert_null(mem.chunks);
	arena_free(&mem);
}

/* -- domains -- */

static void u_labels_and_a_labels_are_one_domain(void **state)
{
	struct arena mem = ARENA_INIT(8192);
	struct slice out = SLICE("untouched");
	(void)state;
	assert_true(idn_to_ascii(SLICE("B\xc3\xbc\x63her.EXAMPLE."), &mem, &out) == 0 && slice_eq(out, SLICE("xn--bcher-kva.example")));
	assert_true(idn_to_ascii(SLICE("_Dmarc.Example"), &mem, &out) == 0 && slice_eq(out, SLICE("_dmarc.example")));
	assert_int_equal(idn_to_ascii(SLICE("\xff\xfe.example"), &mem, &out), -EINVAL);
	assert_true(slice_eq(out, SLICE("_dmarc.example")));
	arena_free(&mem);
}

static void an_organisation_is_one_label_below_a_public_suffix(void **state)
{
	struct suffix_list *l = suffix_list_new(SLICE(""));
	(void)state;
	assert_non_null(l);
	assert_true(slice_eq(suffix_organisation(l, SLICE("mx.mail.example.co.uk")), SLICE("example.co.uk")));
	assert_true(slice_eq(suffix_organisation(l, SLICE("example.com")), SLICE("example.com")));
	assert_int_equal(suffix_organisation(l, SLICE("co.uk")).n, 0);
	suffix_list_free(l);
	assert_null(suffix_list_new(SLICE("/nowhere/list")));
}

/* -- a heap -- */

static void a_heap_gives_the_smallest_first_whatever_moves(void **state)
{
	enum { N = 500 };
	static struct heap_node nodes[N];
	struct heap h = { NULL, 0, 0 };
	uint64_t last = 0;
	size_t seen = 0;
	(void)state;
	srand(1);
	for (size_t i = 0; i < N; i++)
		heap_add(&h, &nodes[i], (uint64_t)rand() % 1000);
	for (size_t i = 0; i < N; i += 3)
		heap_remove(&h, &nodes[i]), heap_add(&h, &nodes[i], (uint64_t)rand() % 1000);
	for (size_t i = 0; i < N; i += 5)
		heap_remove(&h, &nodes[i]);
	heap_remove(&h, &nodes[0]);
	assert_true(!heap_has(&nodes[0]) && heap_has(&nodes[1]) && h.count == N - N / 5);
	for (struct heap_node *n; (n = heap_first(&h)); heap_remove(&h, n), seen++) {
		assert_true(n->key >= last);
		last = n->key;
	}
	assert_int_equal(seen, N - N / 5);
	heap_free(&h);
}

/* -- pens -- */

static char folder_name[] = "/tmp/porter-machine-XXXXXX";
static int folder;

static int make_folder(void **state)
{
	(void)state;
	memcpy(folder_name + sizeof folder_name - 7, "XXXXXX", 6);
	folder = mkdtemp(folder_name) ? open(folder_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return folder < 0 || mkdirat(folder, "new", 0700) < 0 || mkdirat(folder, "tmp", 0700) < 0 || file_init() < 0;
}

static int drop_folder(void **state)
{
	(void)state;
	char command[100];
	close(folder);
	snprintf(command, sizeof command, "rm -rf %s", folder_name);
	return system(command);
}

static void what_a_pen_wrote_appears_whole_or_not_at_all(void **state)
{
	static const enum pen_way ways[] = { PEN_UNNAMED, PEN_LINK, PEN_RENAME };
	int new_fd = openat(folder, "new", O_RDONLY | O_DIRECTORY), tmp_fd = openat(folder, "tmp", O_RDONLY | O_DIRECTORY);
	struct stat st;
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct pen p, copy;
		char name[8] = { 'm', (char)('0' + i), 0 }, other[8] = { 'c', (char)('0' + i), 0 };
		assert_int_equal(pen_open(&p, ways[i], tmp_fd, "staged"), 0);
		assert_int_equal(pen_write(&p, SLICE("content")), 0);
		assert_int_equal(pen_check_length(&p, 7), 0);
		assert_int_equal(pen_check_length(&p, 8), -EBADMSG);
		assert_true(pen_start(&p) == 0 && pen_await(&p) == 0 && pen_sync(&p) == 0);
		assert_true(fstatat(new_fd, name, &st, 0) < 0);
		assert_int_equal(pen_open(&copy, ways[i], tmp_fd, "staged2"), 0);
		assert_int_equal(pen_copy(&copy, &p, 7), 0);
		assert_int_equal(pen_publish(&p, new_fd, name), 0);
		assert_int_equal(pen_publish(&copy, new_fd, other), 0);
		assert_true(fstatat(new_fd, name, &st, 0) == 0 && st.st_size == 7 && fstatat(new_fd, other, &st, 0) == 0 && st.st_size == 7);
		pen_drop(&p);
		pen_drop(&copy);
		assert_true(fstatat(tmp_fd, "staged", &st, 0) < 0 && fstatat(tmp_fd, "staged2", &st, 0) < 0 && fstatat(new_fd, name, &st, 0) == 0);
	}
	struct pen p;
	assert_int_equal(pen_open(&p, PEN_UNNAMED, tmp_fd, "x"), 0);
	assert_int_equal(pen_publish(&p, new_fd, "m0"), -EEXIST);
	pen_drop(&p);
	close(new_fd);
	close(tmp_fd);
}

/* -- the log -- */

static void a_long_value_is_cut_and_hides_no_other(void **state)
{
	static char odd[5000], line[8192];
	int both[2];
	(void)state;
	assert_int_equal(pipe(both), 0);
	memset(odd, 0xe4, sizeof odd); /* each byte is escaped: four times as long */
	log_open(both[1], LOG_FORM_TEXT, "unit");
	log_event(LOG_ERROR, "word", LOG_STR("helo", slice(odd, sizeof odd)), LOG_STR("text", slice(odd, sizeof odd)), LOG_STR("from", SLICE("a@b.test")), LOG_UINT("code", 550), LOG_END);
	log_open(STDERR_FILENO, LOG_FORM_TEXT, "unit");
	ssize_t n = read(both[0], line, sizeof line - 1);
	close(both[0]);
	close(both[1]);
	assert_true(n > 0 && n <= 4002 && line[n - 1] == '\n');
	line[n] = '\0';
	assert_non_null(strstr(line, " helo=\"\\xe4"));
	assert_non_null(strstr(line, "\\xe4...\" text=\"\\xe4"));
	assert_non_null(strstr(line, "\\xe4...\" from=a@b.test code=550\n"));
}

/* -- the login process's records -- */

static void login_records_come_back_as_they_were_and_junk_does_not(void **state)
{
	struct buf b = BUF_INIT(LOGIN_MAX_PAYLOAD);
	struct login_question q = { SLICE("alice@example.test"), SLICE("se\0cret"), SLICE("n,,"), SLICE("192.0.2.1") }, back;
	struct login_answer a = { FOUND, SLICE("alice@example.test"), SLICE("salt"), SLICE("proof"), 4096, SLICE("") }, said;
	(void)state;
	assert_int_equal(login_question_add(&b, &q), 0);
	assert_true(login_question_read(buf_slice(&b), &back) && slice_eq(back.name, q.name) && slice_eq(back.secret, q.secret) && slice_eq(back.ip, q.ip));
	for (size_t n = 1; n < b.n; n++) {
		struct login_question part;
		if (login_question_read(slice(b.p, n), &part))
			assert_true(part.name.n <= LOGIN_MAX_NAME);   /* cut between two fields: still well-formed */
	}
	buf_clear(&b);
	assert_int_equal(login_answer_add(&b, &a), 0);
	assert_true(login_answer_read(buf_slice(&b), &said) && said.answer == FOUND && said.rounds == 4096 && slice_eq(said.salt, a.salt) && slice_eq(said.proof, a.proof));
	assert_false(login_answer_read(slice(b.p, b.n - 1), &said));
	assert_false(login_question_read(SLICE("\xff\xff\xff\xff\xff"), &back));
	buf_free(&b);
}

/* -- a reply becomes a status -- */

static void a_remote_reply_becomes_one_clean_line(void **state)
{
	struct arena mem = ARENA_INIT(8192);
	(void)state;
	struct mail_status s = mail_status_from_reply(&mem, 550, SLICE("5.1.1 no such\r\nuser \x01here"));
	assert_true(s.fate == MAIL_NEVER && s.code == 550 && s.enhanced[0] == 1 && s.enhanced[1] == 1);
	for (size_t i = 0; i < s.text.n; i++)
		assert_true((unsigned char)s.text.p[i] >= ' ');
	s = mail_status_from_reply(&mem, 450, SLICE("later"));
	assert_true(s.fate == MAIL_LATER && s.code == 450 && slice_eq(s.text, SLICE("later")));
	s = mail_status_from_reply(&mem, 250, SLICE("2.0.0 Ok"));
	assert_true(s.fate == MAIL_OK);
	s = mail_status_from_reply(&mem, 354, SLICE("go on"));
	assert_int_equal(s.fate, MAIL_LATER);
	s = MAIL_STATUS_UNSURE("doubt");
	assert_true(s.fate == MAIL_LATER && s.code == 451);
	arena_free(&mem);
}

/* -- what a process may do -- */

static void a_restricted_process_opens_no_socket_and_no_program(void **state)
{
	(void)state;
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const char *step = "";
		const struct proc_plan plan = { NULL, -1, PROC_CALLS_PURE };
		if (proc_restrict(&plan, false, &step) < 0)
			_exit(10);
		execl("/bin/true", "true", (char *)NULL);
		_exit(errno == EPERM || errno == ENOSYS || errno == EACCES ? 0 : 11);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
#if defined(__SANITIZE_ADDRESS__)
	return; /* no filter there: proc_filter_calls says why */
#endif
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGSYS : WEXITSTATUS(status) == 0);
}

/* A user's name may be asked of a daemon, over a socket that only glibc knows of: after a hundred look-ups nscd's is tried anew, and nss-systemd's for whoever is in no file. */
static void a_process_of_files_that_looks_up_users_is_told_that_there_is_no_socket_and_lives(void **state)
{
	(void)state;
	int status;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const char *step = "";
		const struct proc_plan plan = { NULL, -1, PROC_CALLS_FILES };
		if (proc_restrict(&plan, false, &step) < 0)
			_exit(10);
		for (uid_t uid = 54321; uid < 54321 + 250; uid++)
			getpwuid(uid);
		_exit(getpwuid(0) ? 0 : 11);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void users_and_descriptors_are_as_the_system_says(void **state)
{
	(void)state;
	assert_true(proc_user_exists("root") && !proc_user_exists("_porter-nobody-has-this-name"));
	assert_true(proc_raise_descriptors(64) >= 64);
	assert_int_equal(proc_give_folder("/tmp", NULL), 0);
	assert_int_equal(proc_give_folder("/tmp", "_porter-nobody-has-this-name"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_strictly_and_printed_back),
		cmocka_unit_test(ranges_hold_what_is_in_them_by_family),
		cmocka_unit_test(endpoints_are_read_printed_and_listened_on),
		cmocka_unit_test(an_arena_goes_back_to_a_mark_whatever_was_cut_since), cmocka_unit_test(u_labels_and_a_labels_are_one_domain),
		cmocka_unit_test(an_organisation_is_one_label_below_a_public_suffix),
		cmocka_unit_test(a_heap_gives_the_smallest_first_whatever_moves),
		cmocka_unit_test_setup_teardown(what_a_pen_wrote_appears_whole_or_not_at_all, make_folder, drop_folder),
		cmocka_unit_test(a_long_value_is_cut_and_hides_no_other),
		cmocka_unit_test(login_records_come_back_as_they_were_and_junk_does_not),
		cmocka_unit_test(a_remote_reply_becomes_one_clean_line),
		cmocka_unit_test(a_restricted_process_opens_no_socket_and_no_program),
		cmocka_unit_test(a_process_of_files_that_looks_up_users_is_told_that_there_is_no_socket_and_lives),
		cmocka_unit_test(users_and_descriptors_are_as_the_system_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
