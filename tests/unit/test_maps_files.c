/* Maps from file to record and back: the text in memory, Berkeley DB's file, the small maps of evidence, and what a proof asks the machine. */
#include "tests/unit/maps_kit.h"

#include <db.h>
#include <fcntl.h>

#include "maps/kinds.h"
#include "maps/map_bdb.h"
#include "maps/map_text.h"
#include "maps/prove_files.h"
#include "maps/signers.h"
#include "maps/value.h"

static int setup(void **state)
{
	(void)state;
	kit_begin();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_end();
	return 0;
}

/* -- the text in memory -- */

static struct map_text *read_text(struct slice text, map_key_reader key, void *arg, struct complaints *wrong)
{
	struct map_text *t = NULL;
	*wrong = (struct complaints){ BUF_INIT(64 << 10), 0 };
	return map_text_read(text, SLICE("recipients"), key, arg, false, wrong, &t) ? t : NULL;
}

static const char *plain_key(void *arg, struct slice raw, struct arena *mem, struct slice *out)
{
	(void)arg, (void)mem;
	*out = raw;
	return slice_eq(raw, SLICE("bad")) ? "no such key" : NULL;
}

static void a_text_is_sorted_and_found_with_its_lines(void **state)
{
	struct complaints wrong;
	(void)state;
	struct map_text *t = read_text(SLICE("# head\nzoe  one # two\n\nadam\tfirst,\n  second\r\nm \n"), plain_key, NULL, &wrong);
	assert_non_null(t);
	assert_int_equal(map_text_count(t), 3);
	assert_true(slice_eq(map_text_at(t, 0)->key, SLICE("adam")) && slice_eq(map_text_at(t, 2)->key, SLICE("zoe")));
	const struct map_entry *e = map_text_find(t, SLICE("zoe"));
	assert_true(e && e->line == 2 && slice_eq(e->value, SLICE("one")));
	e = map_text_find(t, SLICE("adam"));
	assert_true(e && e->line == 4 && slice_find_slice(e->value, SLICE("second")) < e->value.n);
	assert_null(map_text_find(t, SLICE("ada")));
	map_text_note(t, SLICE("\1note"), SLICE("value"), 0);
	map_text_sort(t);
	assert_true(map_text_find(t, SLICE("\1note")) && map_text_find(t, SLICE("zoe")));
	map_text_free(t);
	complaint_free(&wrong);
}

static void double_and_bad_keys_are_told_with_their_lines(void **state)
{
	struct complaints wrong;
	(void)state;
	assert_null(read_text(SLICE("a x\nbad y\nb z\na w\n"), plain_key, NULL, &wrong));
	struct slice said = buf_slice(&wrong.text);
	assert_int_equal(wrong.count, 2);
	assert_true(slice_find_slice(said, SLICE("recipients:2: ")) < said.n && slice_find_slice(said, SLICE("no such key")) < said.n);
	assert_true(slice_find_slice(said, SLICE("recipients:4: ")) < said.n);
	complaint_free(&wrong);
}

static void keys_become_canonical_by_the_kind_of_their_map(void **state)
{
	struct kind_reading reading = { .memo = ARENA_INIT(0) };
	struct arena mem = ARENA_INIT(8192);
	struct slice out;
	(void)state;
	assert_null(kind_key(MAP_DOMAINS)(&reading, SLICE("B\xc3\xbc" "cher.Test."), &mem, &out));
	assert_true(slice_eq(out, SLICE("xn--bcher-kva.test")));
	assert_non_null(kind_key(MAP_DOMAINS)(&reading, SLICE("a..b"), &mem, &out));
	assert_non_null(kind_key(MAP_CLIENTS)(&reading, SLICE("192.0.2.1/24"), &mem, &out));
	const struct map_entry good = { SLICE("x.test"), SLICE("mailbox"), 1 }, bad = { SLICE("x.test"), SLICE("box"), 1 };
	assert_null(kind_check(MAP_DOMAINS, &good, &mem));
	assert_non_null(kind_check(MAP_DOMAINS, &bad, &mem));
	arena_free(&reading.memo);
	arena_free(&mem);
}

/* -- Berkeley DB's file -- */

static char db_path[128];

static void write_db(int count)
{
	struct map_bdb_writer *w;
	char key[32], value[32];
	snprintf(db_path, sizeof db_path, "%s/x.db", kit_top);
	assert_int_equal(map_bdb_create(db_path, &w), 0);
	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof key, "user%06d@x.test", i);
		snprintf(value, sizeof value, "value %d", i);
		const struct map_entry e = { slice_of(key), slice_of(value), (uint32_t)i + 1 };
		assert_int_equal(map_bdb_add(w, &e), 0);
	}
	assert_int_equal(map_bdb_finish(w), 0);
}

static bool count_up(void *arg, const struct map_entry *e)
{
	return ++*(size_t *)arg < 700 || !e;
}

static void what_was_compiled_is_found_with_value_and_line(void **state)
{
	struct map_bdb_env *env = map_bdb_env_new();
	struct arena mem = ARENA_INIT(1 << 20);
	struct map_bdb *m;
	struct map_entry e;
	size_t seen = 0;
	(void)state;
	write_db(1000);
	assert_int_equal(map_bdb_open(env, db_path, &m), 0);
	assert_int_equal(map_bdb_find(m, SLICE("user000041@x.test"), &mem, &e), FOUND);
	assert_true(slice_eq(e.value, SLICE("value 41")) && e.line == 42);
	assert_int_equal(map_bdb_find(m, SLICE("user"), &mem, &e), ABSENT);
	assert_int_equal(map_bdb_each(m, count_up, &seen), FOUND);
	assert_int_equal(seen, 700); /* until the callback had enough */
	map_bdb_close(m);
	map_bdb_env_free(env);
	arena_free(&mem);
}

static void a_file_that_is_no_map_of_ours_is_refused(void **state)
{
	struct map_bdb_env *env = map_bdb_env_new();
	struct map_bdb *m;
	(void)state;
	assert_int_equal(map_bdb_open(env, "/nowhere/x.db", &m), -ENOENT);
	write_db(100);
	assert_int_equal(truncate(db_path, 700), 0);
	assert_int_equal(map_bdb_open(env, db_path, &m), -EBADMSG);
	int fd = open(db_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(fd, "no database at all, but long enough to be looked at", 51), 51);
	close(fd);
	assert_int_equal(map_bdb_open(env, db_path, &m), -EBADMSG);
	map_bdb_env_free(env);
}

/* Berkeley DB would read it, copying each page: a machine's generation is not another one's. */
static void a_file_of_the_other_byte_order_is_refused(void **state)
{
	DB *db;
	DBT key = { .data = "k", .size = 1 }, value = { .data = "\x01\0\0\0\x01v", .size = 6 };
	struct map_bdb_env *env = map_bdb_env_new();
	struct map_bdb *m;
	(void)state;
	for (int other = 0; other < 2; other++) {
		snprintf(db_path, sizeof db_path, "%s/order%d.db", kit_top, other);
		bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
		assert_int_equal(db_create(&db, NULL, 0), 0);
		assert_int_equal(db->set_lorder(db, little == !other ? 1234 : 4321), 0);
		assert_int_equal(db->open(db, NULL, db_path, NULL, DB_BTREE, DB_CREATE, 0600), 0);
		assert_int_equal(db->put(db, NULL, &key, &value, 0), 0);
		assert_int_equal(db->close(db, 0), 0);
		int error = map_bdb_open(env, db_path, &m);
		assert_int_equal(error, other ? -EBADMSG : 0);
		if (!error)
			map_bdb_close(m);
	}
	map_bdb_env_free(env);
}

static void records_carry_a_version_and_a_length(void **state)
{
	struct slice value;
	uint32_t line;
	(void)state;
	assert_false(map_bdb_read_record(SLICE(""), &value, &line));
	assert_false(map_bdb_read_record(SLICE("\x01\x00\x00"), &value, &line));
	assert_false(map_bdb_read_record(SLICE("\xee\x01\x00\x00\x00value"), &value, &line));
}

/* -- signers, sealers, hosters -- */

static void who_signs_for_a_domain_and_its_subdomains(void **state)
{
	struct complaints wrong = { BUF_INIT(64 << 10), 0 };
	struct arena mem = ARENA_INIT(64 << 10);
	struct signers s;
	(void)state;
	kit_put("domains", SLICE("example.test mailbox\n"));
	kit_put("recipients", SLICE("postmaster@example.test\n"));
	kit_put("signers", SLICE("example.test 2026a rsa, 2026b ed25519\n.wide.test k rsa\n"));
	kit_put("sealers", SLICE("lists.test\n.good.test\n"));
	kit_put("hosters", SLICE("spf.big.test\n"));
	struct map_set *set = kit_read(&wrong);
	assert_non_null(set);
	assert_int_equal(signers_find(set, SLICE("Example.TEST"), &mem, &s), FOUND);
	assert_true(s.count == 2 && !s.list[0].ed25519 && s.list[1].ed25519 && slice_eq(s.list[1].selector, SLICE("2026b")));
	assert_int_equal(signers_find(set, SLICE("a.b.wide.test"), &mem, &s), FOUND);
	assert_true(slice_eq(s.domain, SLICE("wide.test")));
	assert_int_equal(signers_find(set, SLICE("sub.example.test"), &mem, &s), ABSENT);
	assert_int_equal(sealers_find(set, SLICE("lists.test"), &mem), FOUND);
	assert_int_equal(sealers_find(set, SLICE("x.good.test"), &mem), FOUND);
	assert_int_equal(sealers_find(set, SLICE("x.lists.test"), &mem), ABSENT);
	assert_int_equal(hosters_find(set, SLICE("spf.big.test"), &mem), FOUND);
	assert_int_equal(hosters_find(set, SLICE("Relay.spf.big.test"), &mem), FOUND);
	assert_int_equal(hosters_find(set, SLICE("big.test"), &mem), ABSENT);
	assert_non_null(signers_parse(SLICE("sel rsa, sel2 dsa"), &mem, &s));
	assert_non_null(signers_parse(SLICE("a rsa, b rsa, c rsa, d rsa, e rsa"), &mem, &s));
	map_set_close(set);
	arena_free(&mem);
	complaint_free(&wrong);
}

/* -- pieces of values -- */

static void a_refusal_has_codes_that_agree(void **state)
{
	const struct mail_status usual = MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Refused");
	struct mail_status s;
	struct slice value;
	struct arena mem = ARENA_INIT(1024);
	(void)state;
	assert_null(value_status(SLICE(""), &usual, &s));
	assert_true(s.code == 550 && slice_eq(s.text, SLICE("Refused")));
	assert_null(value_status(SLICE("554 5.7.0 Go away"), &usual, &s));
	assert_true(s.code == 554 && s.enhanced[0] == 7 && s.enhanced[1] == 0 && slice_eq(s.text, SLICE("Go away")));
	assert_non_null(value_status(SLICE("450 Later"), &usual, &s));
	assert_non_null(value_status(SLICE("550 4.7.1 Odd"), &usual, &s));
	assert_true(slice_eq(value_name(SLICE("quota=1G"), &value), SLICE("quota")) && slice_eq(value, SLICE("1G")));
	assert_true(slice_eq(value_name(SLICE("quota"), &value), SLICE("quota")) && value.p == NULL);
	assert_true(slice_eq(value_unquote(SLICE("\"a \\\" b\""), &mem), SLICE("a \" b")) && slice_eq(value_unquote(SLICE("plain"), &mem), SLICE("plain")));
	arena_free(&mem);
}

/* -- what a proof asks the machine -- */

static enum prove_grade leaf_grade(struct proved_files *f, enum leaf_kind kind, struct slice place)
{
	struct arena mem = ARENA_INIT(8192);
	const char *why = NULL;
	const struct leaf l = { .kind = kind, .place = place };
	enum prove_grade g = prove_files_leaf(f, &l, &mem, &why);
	assert_true(g == PROVE_NOTE || why);
	arena_free(&mem);
	return g;
}

static void roots_sockets_and_programs_are_looked_at(void **state)
{
	struct proved_files *f = prove_files_new(SLICE(""), SLICE(""));
	char path[128];
	const char *why = NULL;
	(void)state;
	assert_int_equal(prove_files_root(f, slice_of(kit_top), &why), PROVE_NOTE);
	assert_int_equal(prove_files_root(f, SLICE("/nowhere/mail"), &why), PROVE_REFUTED);
	assert_non_null(why);
	assert_int_equal(leaf_grade(f, LEAF_PROGRAM, SLICE("/bin/cat\0-u")), PROVE_NOTE);
	assert_int_equal(leaf_grade(f, LEAF_PROGRAM, SLICE("/bin/no-such-program")), PROVE_REFUTED);
	snprintf(path, sizeof path, "%s/etc", kit_top);
	assert_int_equal(leaf_grade(f, LEAF_PROGRAM, slice_of(path)), PROVE_REFUTED);
	assert_int_equal(leaf_grade(f, LEAF_SYSTEM, SLICE("root")), PROVE_NOTE);
	assert_int_equal(leaf_grade(f, LEAF_SYSTEM, SLICE("_nobody-of-this-name")), PROVE_REFUTED);
	assert_int_equal(leaf_grade(f, LEAF_LMTP, SLICE("unix:/run/no-such-socket")), PROVE_REFUTED);
	assert_false(prove_files_client(f, SLICE("203.0.113.7"), SLICE("example.test"), &why));
	prove_files_free(f);
}

/* Roots, folders of mbox files and sockets that are there, but not for those who have to write to them. As root, since only root can be somebody else. */
static void what_can_not_be_written_by_its_user_is_refuted(void **state)
{
	char root[128], mbox[140], socket_path[100], place[128];
	const char *why = NULL;
	(void)state;
	if (geteuid() != 0)
		skip();
	snprintf(root, sizeof root, "%s/locked", kit_top);
	snprintf(mbox, sizeof mbox, "%s/box", root);
	snprintf(socket_path, sizeof socket_path, "%s/s", kit_top);
	snprintf(place, sizeof place, "unix:%s", socket_path);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", socket_path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(bind(s, (struct sockaddr *)&a, sizeof a) == 0 && chmod(socket_path, 0600) == 0 && mkdir(root, 0700) == 0 && chmod(kit_top, 0755) == 0);
	for (int open = 0; open < 2; open++) {
		enum prove_grade wanted = open ? PROVE_NOTE : PROVE_REFUTED;
		struct proved_files *f = prove_files_new(SLICE("nobody"), SLICE("nobody"));
		assert_int_equal(prove_files_root(f, slice_of(root), &why), wanted);
		assert_int_equal(leaf_grade(f, LEAF_MBOX, slice_of(mbox)), wanted);
		assert_int_equal(leaf_grade(f, LEAF_LMTP, slice_of(place)), wanted);
		assert_int_equal(leaf_grade(f, LEAF_LMTP, slice_of(place)), wanted);
		prove_files_free(f);
		assert_true(chmod(root, 0777) == 0 && chmod(socket_path, 0666) == 0);
	}
	close(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_text_is_sorted_and_found_with_its_lines),
		TEST(double_and_bad_keys_are_told_with_their_lines),
		TEST(keys_become_canonical_by_the_kind_of_their_map),
		TEST(what_was_compiled_is_found_with_value_and_line),
		TEST(a_file_that_is_no_map_of_ours_is_refused),
		TEST(a_file_of_the_other_byte_order_is_refused),
		TEST(records_carry_a_version_and_a_length),
		TEST(who_signs_for_a_domain_and_its_subdomains),
		TEST(a_refusal_has_codes_that_agree),
		TEST(roots_sockets_and_programs_are_looked_at),
		TEST(what_can_not_be_written_by_its_user_is_refuted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
