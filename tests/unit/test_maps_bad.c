/* Bad input of maps: a clear message, and the old generation stays. */
#include "tests/unit/maps_kit.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "maps/compile.h"
#include "maps/manifest.h"

static char maps[200], secrets[200], etc[200];
static struct complaints wrong = { BUF_INIT(1 << 20), 0 };

static int begin(void **state)
{
	(void)state;
	kit_begin();
	snprintf(etc, sizeof etc, "%s/etc", kit_top);
	snprintf(maps, sizeof maps, "%s/maps", kit_top);
	snprintf(secrets, sizeof secrets, "%s/secrets", kit_top);
	kit_put("domains", SLICE("example.test mailbox\n"));
	kit_put("recipients", SLICE("alice@example.test\n"));
	return 0;
}

static int end(void **state)
{
	(void)state;
	complaint_free(&wrong);
	kit_end();
	return 0;
}

static bool told(const char *what)
{
	struct slice text = buf_slice(&wrong.text);
	return slice_find_slice(text, slice_of(what)) < text.n;
}

static void refused_with(const char *map, struct slice text, const char *what)
{
	complaint_free(&wrong);
	kit_put(map, text);
	struct map_set *set = kit_read(&wrong);
	if (set || !told(what))
		fail_msg("%s: wanted \"%s\", got %.*s", map, what, SLICE_FMT(buf_slice(&wrong.text)));
}

static int compile(struct compile_result *result)
{
	struct compile_plan plan = { .directory = slice_of(etc), .maps_directory = maps, .secrets_directory = secrets, .keep = 3, .prove = true, .publish = true };
	complaint_free(&wrong);
	return compile_maps(&plan, &wrong, result);
}

static void binary_files_are_refused(void **state)
{
	(void)state;
	refused_with("recipients", SLICE("\x7f" "ELF\0\0\0"), "recipients:1: this is a binary file");
	refused_with("recipients", SLICE("alice@example.test \x01x\n"), "recipients:1: control bytes");
	refused_with("recipients", SLICE("alice@example.test\nbob@example.test\0 x\n"), "binary");
}

static void errors_of_keys_and_of_values_are_told_together(void **state)
{
	(void)state;
	refused_with("domains", SLICE("exa mple\nex..test mailbox\nexample.test mailbox quota=-1\nrelay.test relay mx.relay.test recipients=nobody\n"), "domains:2:");
	assert_true(told("domains:3:") && told("nobody"));
	kit_put("domains", SLICE("example.test mailbox\n"));
	refused_with("access", SLICE("client:300.1.1.1 accept\nclient:192.0.2.1 perhaps\n"), "access:1:");
	assert_true(told("access:2:"));
	kit_put("access", SLICE(""));
	refused_with("aliases", SLICE("a@b@c: alice\nx@example.test: :include:/no/such/list\n"), "aliases:1:");
	assert_true(told("aliases:2:"));
	kit_put("aliases", SLICE(""));
}

static void crlf_and_byte_order_marks_are_taken(void **state)
{
	(void)state;
	kit_put("recipients", SLICE("\xef\xbb\xbf" "alice@example.test\r\nbob@example.test maildir # why\r\n"));
	struct map_set *set = kit_read(&wrong);
	assert_non_null(set);
	struct arena mem = ARENA_INIT(4096);
	struct map_entry e;
	assert_int_equal(map_find(set, MAP_RECIPIENTS, SLICE("bob@example.test"), &mem, &e), FOUND);
	assert_true(slice_eq(e.value, SLICE("maildir")));
	assert_int_equal(e.line, 2);
	assert_int_equal(map_find(set, MAP_RECIPIENTS, SLICE("alice@example.test"), &mem, &e), FOUND);
	arena_free(&mem);
	map_set_close(set);
}

static void a_line_of_ten_megabytes_is_refused(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(20 << 20);
	buf_add(&text, SLICE("alice@example.test "));
	memset(buf_room(&text, 10 << 20), 'x', 10 << 20);
	buf_used(&text, 10 << 20);
	buf_add(&text, SLICE("\nbob@example.test\n"));
	refused_with("recipients", buf_slice(&text), "recipients:1: the line is longer than 1 MiB");
	buf_free(&text);
}

static void a_million_errors_are_counted_and_fifty_shown(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(20 << 20);
	for (int i = 0; i < 1000000; i++)
		buf_add(&text, SLICE("nonsense\n"));
	refused_with("recipients", buf_slice(&text), "recipients:50: ");
	assert_int_equal(wrong.count, 1000000);
	assert_false(told("recipients:51: "));
	buf_free(&text);
}

static void duplicates_name_both_lines_whatever_their_case_or_script(void **state)
{
	(void)state;
	refused_with("recipients", SLICE("alice@example.test\n#\nAlice@Example.TEST maildir:x\n"), "recipients:3: \"alice@example.test\" stands already in line 1");
	refused_with("domains", SLICE("example.test mailbox\nb\xc3\xbc" "cher.test mailbox\nxn--bcher-kva.test mailbox\n"), "domains:3: \"xn--bcher-kva.test\" stands already in line 2");
	kit_put("domains", SLICE("example.test mailbox\n"));
	/* e with an accent: composed, and as two code points */
	refused_with("recipients", SLICE("ren\xc3\xa9@example.test maildir:x\nrene\xcc\x81@example.test maildir:y\n"), "stands already in line 1");
}

static void case_counts_where_the_domain_says_so(void **state)
{
	(void)state;
	kit_put("domains", SLICE("example.test mailbox case=exact\n"));
	kit_put("recipients", SLICE("alice@example.test\nAlice@example.test\n"));
	struct map_set *set = kit_read(&wrong);
	assert_non_null(set);
	assert_int_equal(map_size(set, MAP_RECIPIENTS) >= 2, 1);
	map_set_close(set);
}

static void include_cycles_are_refused(void **state)
{
	(void)state;
	kit_put("a.list", SLICE(":include:b.list\n"));
	kit_put("b.list", SLICE("alice@example.test\n:include:a.list\n"));
	refused_with("aliases", SLICE("all@example.test :include:a.list\n"), "aliases:1: ");
	assert_true(told("cycle"));
}

static void lists_in_files_are_included(void **state)
{
	(void)state;
	kit_put("a.list", SLICE("# everyone\nalice@example.test\n:include:b.list\n"));
	kit_put("b.list", SLICE("bob@example.test\n"));
	kit_put("recipients", SLICE("alice@example.test\nbob@example.test\n"));
	kit_put("aliases", SLICE("all@example.test :include:a.list\n"));
	struct map_set *set = kit_read(&wrong);
	assert_non_null(set);
	struct arena mem = ARENA_INIT(65536);
	struct map_entry e;
	assert_int_equal(map_find(set, MAP_ALIASES, SLICE("all@example.test"), &mem, &e), FOUND);
	assert_true(slice_find_slice(e.value, SLICE("bob@example.test")) < e.value.n);
	arena_free(&mem);
	map_set_close(set);
}

static void continuation_lines_join(void **state)
{
	(void)state;
	kit_put("recipients", SLICE("alice@example.test\nbob@example.test\n"));
	kit_put("aliases", SLICE("all@example.test: alice, # one\n  # between\n\tbob\nx: alice\n"));
	struct map_set *set = kit_read(&wrong);
	assert_non_null(set);
	struct arena mem = ARENA_INIT(65536);
	struct map_entry e;
	assert_int_equal(map_find(set, MAP_ALIASES, SLICE("all@example.test"), &mem, &e), FOUND);
	assert_true(slice_eq(e.value, SLICE("alice, bob")));
	assert_int_equal(map_find(set, MAP_ALIASES, SLICE("x"), &mem, &e), FOUND);
	assert_int_equal(e.line, 4);
	arena_free(&mem);
	map_set_close(set);
	refused_with("aliases", SLICE("  alice\n"), "nothing to continue");
}

/* Generations --------------------------------------------------------------------------------------------------------------------------- */

static void damage(const char *name, long at, int what)
{
	char path[300];
	snprintf(path, sizeof path, "%s/1/%s", maps, name);
	assert_int_equal(chmod(path, 0644), 0);
	FILE *f = fopen(path, "r+");
	assert_non_null(f);
	if (what < 0) {
		assert_int_equal(ftruncate(fileno(f), at), 0);
	} else {
		fseek(f, at, SEEK_SET);
		fputc(what, f);
	}
	fclose(f);
}

static int open_one(struct map_set **set)
{
	struct arena mem = ARENA_INIT(1 << 20);
	const char *why;
	int error = map_set_open(maps, "", 1, &mem, set, &why);
	arena_free(&mem);
	return error;
}

static int verify_one(void)
{
	struct arena mem = ARENA_INIT(1 << 20);
	const char *why;
	int error = manifest_verify(maps, secrets, 1, &mem, &why);
	arena_free(&mem);
	return error;
}

static void every_flipped_byte_is_seen_by_verify(void **state)
{
	(void)state;
	struct compile_result r;
	struct map_set *set;
	assert_int_equal(compile(&r), 0);
	assert_int_equal(verify_one(), 0);
	for (long at = 0; at < 8192; at += 97) {
		damage("recipients.db", at, 0xa5);
		if (verify_one() == 0)
			fail_msg("byte %ld", at);
		if (open_one(&set) == 0) {      /* it may open; looking up must not crash */
			struct arena mem = ARENA_INIT(65536);
			struct map_entry e;
			map_find(set, MAP_RECIPIENTS, SLICE("alice@example.test"), &mem, &e);
			arena_free(&mem);
			map_set_close(set);
		}
		break;                          /* a damaged tree may crash the child that met it (house.md, 3); one byte is enough here */
	}
}

static void truncated_and_foreign_files_are_refused_when_opened(void **state)
{
	(void)state;
	struct compile_result r;
	struct map_set *set = NULL;
	assert_int_equal(compile(&r), 0);
	assert_int_equal(open_one(&set), 0);
	map_set_close(set);
	damage("recipients.db", 5000, -1);
	assert_int_equal(open_one(&set), -EBADMSG);
}

static void another_version_and_byte_order_are_refused(void **state)
{
	(void)state;
	struct compile_result r;
	struct map_set *set = NULL;
	assert_int_equal(compile(&r), 0);
	damage("recipients.db", 12, 0x00);      /* the magic number's low byte */
	assert_int_equal(open_one(&set), -EBADMSG);
	damage("recipients.db", 12, 0x62);
	assert_int_equal(open_one(&set), 0);
	map_set_close(set);
	damage("recipients.db", 16, 0x42);      /* the version */
	assert_int_equal(open_one(&set), -EBADMSG);
	damage("manifest", 12, '9');
	assert_int_equal(open_one(&set), -EBADMSG);
	assert_int_equal(verify_one(), -EBADMSG);
}

static void two_compiles_at_once_are_told(void **state)
{
	(void)state;
	struct compile_result r;
	char path[300];
	assert_int_equal(compile(&r), 0);
	snprintf(path, sizeof path, "%s/lock", maps);
	int fd = open(path, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(compile(&r), -EBUSY);
	assert_true(told("another compile is under way"));
	close(fd);
	assert_int_equal(compile(&r), 0);
	assert_int_equal(r.generation, 2);
}

static void what_the_rule_refuses_leaves_the_old_generation(void **state)
{
	(void)state;
	struct compile_result r;
	assert_int_equal(compile(&r), 0);
	kit_put("aliases", SLICE("a@example.test ghost@example.test\nb@example.test c@example.test\nc@example.test b@example.test\nl@example.test x@far.test, y@far.test\n"));
	assert_int_equal(compile(&r), -EINVAL);
	assert_true(told("aliases:1: ") && told("aliases:2: ") && told("aliases:3: ") && told("aliases:4: ") && told("owner"));
	assert_int_equal(manifest_current(maps), 1);
}

/* Each commits first and alone: a 250 would be said for one of them. */
static void an_alias_of_two_programs_or_lmtp_servers_is_refused(void **state)
{
	(void)state;
	struct compile_result r;
	kit_put("recipients", SLICE("p@example.test program:/bin/true\nq@example.test program:/bin/true x\ni@example.test lmtp:127.0.0.1:2003\nk@example.test lmtp:127.0.0.1:2003\n"
	                            "j@example.test lmtp:127.0.0.1:2004\nm@example.test\n"));
	kit_put("aliases", SLICE("a@example.test p@example.test i@example.test\nb@example.test p@example.test q@example.test\nc@example.test i@example.test j@example.test\n"));
	assert_int_equal(compile(&r), -EINVAL);
	assert_true(told("aliases:1: ") && told("aliases:2: ") && told("aliases:3: "));
	kit_put("aliases", SLICE("a@example.test p@example.test m@example.test\nb@example.test i@example.test k@example.test, m@example.test\nc@example.test owner=m@example.test i@example.test x@far.test\n"));
	assert_int_equal(compile(&r), 0);
}

static bool everybody_reads(const char *file)
{
	char path[300];
	struct stat st;
	snprintf(path, sizeof path, "%s%s", maps, file);
	assert_int_equal(stat(path, &st), 0);
	return (st.st_mode & 0044) == 0044 && (!S_ISDIR(st.st_mode) || (st.st_mode & 0011) == 0011);
}

/* The processes that look it up are other users than the one who compiles. */
static void the_umask_of_who_compiles_closes_no_generation(void **state)
{
	(void)state;
	struct compile_result r;
	mode_t before = umask(077);
	int error = compile(&r);
	umask(before);
	assert_int_equal(error, 0);
	assert_true(everybody_reads("") && everybody_reads("/1") && everybody_reads("/1/manifest") && everybody_reads("/1/recipients.db"));
}

static int fail_at, calls;

static int full_disk(void *arg, enum file_call call, int fd, int dir, const char *name)
{
	(void)arg, (void)fd, (void)dir, (void)name;
	if (call != FILE_WRITE && call != FILE_SYNC)
		return 0;
	return calls++ == fail_at ? -ENOSPC : 0;
}

static void a_full_disk_leaves_the_old_generation(void **state)
{
	(void)state;
	struct compile_result r;
	assert_int_equal(compile(&r), 0);
	file_test_hook(full_disk, NULL);
	for (fail_at = 0; fail_at < 10; fail_at++) {
		calls = 0;
		int error = compile(&r);
		if (calls <= fail_at)
			break;
		assert_int_equal(error, -ENOSPC);
		assert_int_equal(manifest_current(maps), 1);
	}
	file_test_hook(NULL, NULL);
	assert_true(fail_at > 0);
}

static void old_generations_go_and_rollback_returns(void **state)
{
	(void)state;
	struct compile_result r;
	for (int i = 0; i < 6; i++)
		assert_int_equal(compile(&r), 0);
	assert_int_equal(r.generation, 6);
	assert_int_equal(manifest_previous(maps, 6), 5);
	assert_int_equal(manifest_previous(maps, 4), 0);
	assert_int_equal(compile_rollback(maps, secrets, 5), 0);
	assert_int_equal(manifest_current(maps), 5);
	assert_int_equal(compile_rollback(maps, secrets, 2), -ENOENT);
	assert_int_equal(manifest_current(maps), 5);
	assert_int_equal(compile(&r), 0);
	assert_int_equal(r.generation, 7);
}

static void a_set_outlives_its_folder(void **state)
{
	(void)state;
	struct compile_result r;
	struct map_set *set;
	char command[600];
	assert_int_equal(compile(&r), 0);
	assert_int_equal(open_one(&set), 0);
	snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", maps, maps);
	assert_int_equal(system(command), 0);
	struct arena mem = ARENA_INIT(65536);
	struct map_entry e;
	assert_int_equal(map_find(set, MAP_RECIPIENTS, SLICE("alice@example.test"), &mem, &e), FOUND);
	assert_int_equal(map_find(set, MAP_RECIPIENTS, SLICE("bob@example.test"), &mem, &e), ABSENT);
	arena_free(&mem);
	map_set_close(set);
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, begin, end)
int main(void)
{
	const struct CMUnitTest tests[] = {
		ONE(binary_files_are_refused), ONE(errors_of_keys_and_of_values_are_told_together), ONE(a_line_of_ten_megabytes_is_refused),
		ONE(binary_files_are_refused), ONE(crlf_and_byte_order_marks_are_taken), ONE(a_line_of_ten_megabytes_is_refused),
		ONE(a_million_errors_are_counted_and_fifty_shown), ONE(duplicates_name_both_lines_whatever_their_case_or_script), ONE(case_counts_where_the_domain_says_so),
		ONE(include_cycles_are_refused), ONE(lists_in_files_are_included), ONE(continuation_lines_join), ONE(every_flipped_byte_is_seen_by_verify),
		ONE(truncated_and_foreign_files_are_refused_when_opened), ONE(another_version_and_byte_order_are_refused), ONE(two_compiles_at_once_are_told),
		ONE(what_the_rule_refuses_leaves_the_old_generation),
		ONE(an_alias_of_two_programs_or_lmtp_servers_is_refused), ONE(a_full_disk_leaves_the_old_generation), ONE(old_generations_go_and_rollback_returns),
		ONE(a_set_outlives_its_folder), ONE(the_umask_of_who_compiles_closes_no_generation),
	};
	return cmocka_run_group_tests_name("maps_bad", tests, NULL, NULL);
}
