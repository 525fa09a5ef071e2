/* The expander over text and over a compiled generation: the same table, the same answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "maps/compile.h"
#include "maps/manifest.h"
#include "maps/map.h"
#include "maps/resolve.h"

static char top[64];

static void put(const char *name, const char *text)
{
	char path[200];
	snprintf(path, sizeof path, "%s/etc/%s", top, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void world(void)
{
	char path[200];
	snprintf(top, sizeof top, "/tmp/porter-maps-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof path, "%s/etc", top);
	mkdir(path, 0755);
	put("domains", "# ours\nExample.test mailbox quota=1M\nother.test alias-of example.test\n"
	               "*.sub.test mailbox catch-all=bob@example.test\nrelay.test relay mx recipients=relayed\nask.test relay 10.0.0.5:2525 recipients=ask\n"
	               "gone.test refuse We have moved\nb\xc3\xbc" "cher.test mailbox\n");
	put("recipients", "alice@example.test maildir\nbob@example.test quota=0 size=10k maildir:/var/mail/bob\nlmtp@example.test lmtp:[127.0.0.1]:24\n"
	                  "prog@example.test program:/bin/cat -u x\nsys@example.test system:root\nurs@b\xc3\xbc" "cher.test maildir\n");
	put("aliases", "both: alice@example.test, bob\nloopa@example.test loopb@example.test\nloopb@example.test loopa@example.test\n"
	               "out@example.test ann@remote.test\ncopy@example.test copy@example.test, ann@remote.test\nbob@example.test bob@example.test, alice\n"
	               "list@example.test a@remote.test, b@remote.test,\n  alice@example.test, owner=alice@example.test\nnolist@example.test a@remote.test, b@remote.test\n"
	               "no@example.test :refuse: Nobody of that name\nlater@example.test :defer: Come back\ndangling@example.test ghost@example.test\n");
	put("relayed", "known@relay.test\n");
	put("routes", "remote.test smarthost.test:587 tls=verify\n.deep.test [192.0.2.1]:25\n");
	put("access", "client:192.0.2.0/24 refuse Go away\nclient:192.0.2.128/25 accept\nclient:2001:db8::/32 tag six\n");
}

struct row {
	const char *address;
	unsigned code;
	const char *leaves;    /* "kind place address" joined with "; " */
};

static const struct row rows[] = {
	{ "alice@example.test", 250, "maildir example.test/alice" },
	{ "ALICE@EXAMPLE.test", 250, "maildir example.test/alice" },
	{ "alice+tag@example.test", 250, "maildir example.test/alice" },
	{ "alice@other.test", 250, "maildir example.test/alice" },
	{ "nobody@example.test", 550, "" },
	{ "both@example.test", 250, "maildir example.test/alice; maildir /var/mail/bob" },
	{ "bob@example.test", 250, "maildir /var/mail/bob; maildir example.test/alice" },
	{ "loopa@example.test", 451, "" },
	{ "out@example.test", 250, "hop smarthost.test:587" },
	{ "list@example.test", 250, "hop smarthost.test:587; hop smarthost.test:587; maildir example.test/alice" },
	{ "nolist@example.test", 451, "" },
	{ "no@example.test", 550, "" },
	{ "later@example.test", 450, "" },
	{ "dangling@example.test", 550, "" },
	{ "x@deep.sub.test", 250, "maildir /var/mail/bob; maildir example.test/alice" },
	{ "known@relay.test", 250, "hop mx:relay.test" },
	{ "unknown@relay.test", 550, "" },
	{ "any@ask.test", 250, "hop [10.0.0.5]:2525" },
	{ "x@gone.test", 550, "" },
	{ "postmaster@example.test", 250, "maildir example.test/alice" },
	{ "Postmaster@other.test", 250, "maildir example.test/alice" },
	{ "urs@b\xc3\xbc" "cher.test", 250, "maildir xn--bcher-kva.test/urs" },
	{ "urs@xn--bcher-kva.test", 250, "maildir xn--bcher-kva.test/urs" },
	{ "lmtp@example.test", 250, "lmtp [127.0.0.1]:24" },
	{ "sys@example.test", 250, "system root" },
	{ "someone@foreign.test", 250, "hop mx:foreign.test" },
	{ "someone@very.deep.test", 250, "hop [192.0.2.1]:25" },
};

static void check_rows(struct map_set *set)
{
	static const char *const kinds[] = { "maildir", "mbox", "system", "lmtp", "program", "hop" };
	struct arena mem = ARENA_INIT(1 << 20);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_path path;
		const char *why;
		struct resolved r;
		struct buf seen = BUF_INIT(4000);
		assert_int_equal(mail_path_parse_address(slice_of(rows[i].address), &mem, &path, &why), 0);
		resolve_path(set, &path, i % 2, &mem, &r);
		for (size_t k = 0; k < r.count; k++)
			buf_addf(&seen, "%s%s %.*s", k ? "; " : "", kinds[r.leaves[k].kind], SLICE_FMT(r.leaves[k].place));
		buf_add_byte(&seen, '\0');
		if (r.status.code != rows[i].code || strcmp(seen.p, rows[i].leaves) != 0)
			fail_msg("%s: %u %.*s: %s", rows[i].address, r.status.code, SLICE_FMT(r.status.text), seen.p);
		buf_free(&seen);
		arena_reset(&mem);
	}
	arena_free(&mem);
}

/* Whom a refusal is about, where an alias leads to several. */
static void check_failed(struct map_set *set)
{
	static const char *const rows_failed[][2] = { { "dangling@example.test", "ghost@example.test" }, { "nobody@other.test", "nobody@example.test" }, { "nolist@example.test", "" }, { "bob@example.test", "" } };
	struct arena mem = ARENA_INIT(1 << 20);
	for (size_t i = 0; i < sizeof rows_failed / sizeof *rows_failed; i++) {
		struct mail_path path;
		const char *why;
		struct resolved r;
		assert_int_equal(mail_path_parse_address(slice_of(rows_failed[i][0]), &mem, &path, &why), 0);
		resolve_path(set, &path, true, &mem, &r);
		assert_true(slice_eq(r.failed, slice_of(rows_failed[i][1])));
		assert_int_equal(r.failed_cause != NULL, r.status.fate != MAIL_OK);
		for (size_t k = 0; k < r.step_count; k++)
			for (size_t n = 0; n < r.steps[k]->key.n; n++)
				assert_true((unsigned char)r.steps[k]->key.p[n] >= ' '); /* no note's key, as it is stored */
	}
	arena_free(&mem);
}

static void check_networks(struct map_set *set)
{
	struct arena mem = ARENA_INIT(1 << 16);
	struct net_ip ip;
	struct map_entry e;
	assert_true(net_ip_parse(SLICE("192.0.2.5"), &ip));
	assert_int_equal(map_find_ip(set, MAP_ACCESS, SLICE("client:"), &ip, &mem, &e), FOUND);
	assert_true(slice_starts(e.value, SLICE("refuse")));
	assert_true(net_ip_parse(SLICE("192.0.2.200"), &ip));
	assert_int_equal(map_find_ip(set, MAP_ACCESS, SLICE("client:"), &ip, &mem, &e), FOUND);
	assert_true(slice_starts(e.value, SLICE("accept")));
	assert_true(net_ip_parse(SLICE("2001:db8:1::7"), &ip));
	assert_int_equal(map_find_ip(set, MAP_ACCESS, SLICE("client:"), &ip, &mem, &e), FOUND);
	assert_true(net_ip_parse(SLICE("198.51.100.1"), &ip));
	assert_int_equal(map_find_ip(set, MAP_ACCESS, SLICE("client:"), &ip, &mem, &e), ABSENT);
	arena_free(&mem);
}

static struct complaints wrong = { BUF_INIT(100000), 0 };

static void text_and_generation_answer_alike(void **state)
{
	(void)state;
	char etc[100], maps[100], secrets[100];
	world();
	snprintf(etc, sizeof etc, "%s/etc", top);
	snprintf(maps, sizeof maps, "%s/maps", top);
	snprintf(secrets, sizeof secrets, "%s/secrets", top);
	struct map_set *text, *db;
	if (map_set_read(slice_of(etc), &wrong, &text) < 0)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&wrong.text)));
	check_rows(text);
	check_failed(text);
	check_networks(text);
	map_set_close(text);

	struct compile_plan plan = { slice_of(etc), maps, secrets, 3, true, true, NULL, NULL, NULL };
	struct compile_result result;
	assert_int_equal(compile_maps(&plan, &wrong, &result), -EINVAL);     /* dangling, loops, a list without an owner */
	assert_true(slice_find_slice(buf_slice(&wrong.text), SLICE("dangling")) < wrong.text.n);
	assert_int_equal(manifest_current(maps), 0);
	plan.prove = false;
	if (compile_maps(&plan, &wrong, &result) < 0)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&wrong.text)));
	assert_int_equal(manifest_current(maps), result.generation);
	struct arena mem = ARENA_INIT(1 << 20);
	const char *why;
	assert_int_equal(manifest_verify(maps, secrets, result.generation, &mem, &why), 0);
	assert_int_equal(map_set_open(maps, "", result.generation, &mem, &db, &why), 0);
	check_rows(db);
	check_failed(db);
	check_networks(db);
	map_set_close(db);
	arena_free(&mem);
	char command[200];
	snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", top, top);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(text_and_generation_answer_alike) };
	return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
