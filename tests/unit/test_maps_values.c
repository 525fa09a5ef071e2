/* Each map's lines, good and bad, as people write them; and what the typed front doors make of them. */
#include "tests/unit/maps_kit.h"

#include "maps/access.h"
#include "maps/author.h"
#include "maps/clients.h"
#include "maps/credentials.h"
#include "maps/domains.h"
#include "maps/map_key.h"
#include "maps/map_value.h"
#include "maps/senders.h"

#define MAY10 " tls=may tls=may tls=may tls=may tls=may tls=may tls=may tls=may tls=may tls=may"
#define MAY120 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10 MAY10
#define MAY130 MAY120 MAY10

#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A500 A50 A50 A50 A50 A50 A50 A50 A50 A50 A50

struct row {
	const char *map, *line;
	const char *why;       /* NULL: good; else a piece of the complaint */
};

static const struct row rows[] = {
	{ "domains", "example.test mailbox", NULL },
	{ "domains", "EXAMPLE.test. mailbox quota=1G size=20M delimiter=- catch-all=a@example.test case=exact sole-sender batv srs", NULL },
	{ "domains", "*.example.test mailbox", NULL },
	{ "domains", ".example.test mailbox", NULL },
	{ "domains", "[192.0.2.1] mailbox", NULL },
	{ "domains", "b\xc3\xbc" "cher.test mailbox", NULL },
	{ "domains", "xn--bcher-kva.test mailbox", NULL },
	{ "domains", "r.test relay mx recipients=ask", NULL },
	{ "domains", "r.test relay [192.0.2.1]:2525 recipients=ask", NULL },
	{ "domains", "r.test relay [2001:db8::1] recipients=ask", NULL },
	{ "domains", "r.test relay lmtp:unix:/run/lmtp recipients=ask", NULL },
	{ "domains", "r.test relay lmtp:[::1]:24 recipients=ask", NULL },
	{ "domains", "r.test relay mx", "source of valid recipients" },
	{ "domains", "r.test relay mx recipients=../x", "letters" },
	{ "domains", "r.test relay mx recipients=nothere", "not there" },
	{ "domains", "r.test relay", "next hop" },
	{ "domains", "r.test relay host:0 recipients=ask", "port" },
	{ "domains", "r.test relay host:99999 recipients=ask", "port" },
	{ "domains", "r.test relay [192.0.2 recipients=ask", "bracket" },
	{ "domains", "old.test alias-of example.test", NULL },
	{ "domains", "old.test alias-of", "domain" },
	{ "domains", "gone.test refuse", NULL },
	{ "domains", "gone.test refuse We have moved, # not for you", NULL },
	{ "domains", "example.test", "mailbox" },
	{ "domains", "example.test box", "mailbox" },
	{ "domains", "example.test mailbox quota=lots", "size" },
	{ "domains", "example.test mailbox color=blue", "unknown" },
	{ "domains", "exa mple.test mailbox", "mailbox" },
	{ "domains", "ex\xff.test mailbox", "UTF-8" },
	{ "domains", "a..test mailbox", "label" },
	{ "recipients", "alice@example.test", NULL },
	{ "recipients", "alice@example.test maildir", NULL },
	{ "recipients", "alice@example.test quota=1G quota-messages=10 size=1M maildir:x/y", NULL },
	{ "recipients", "\"john doe\"@example.test maildir", NULL },
	{ "recipients", "alice@example.test maildir:../x", "path" },
	{ "recipients", "alice@example.test mbox:/var/mail/alice", NULL },
	{ "recipients", "alice@example.test system:alice", NULL },
	{ "recipients", "alice@example.test system:../alice", "user" },
	{ "recipients", "alice@example.test lmtp:127.0.0.1:24", NULL },
	{ "recipients", "alice@example.test lmtp:unix:/run/lmtp", NULL },
	{ "recipients", "alice@example.test lmtp:unix:run/lmtp", "absolute" },
	{ "recipients", "alice@example.test program:/bin/cat -u", NULL },
	{ "recipients", "alice@example.test program:cat", "absolute" },
	{ "recipients", "alice@example.test teapot", "mailbox is" },
	{ "recipients", "alice", "domain" },
	{ "recipients", "@example.test", "whole domain" },
	{ "recipients", "@example.test maildir:all", NULL },
	{ "recipients", "a b@example.test", "domain" },
	{ "recipients", "a@b@example.test", "" },
	{ "aliases", "sales@example.test alice@example.test, bob", NULL },
	{ "aliases", "sales: alice, bob", NULL },
	{ "aliases", "sales:alice,bob", NULL },
	{ "aliases", "sales@example.test: \"|/usr/bin/x -a b\"", NULL },
	{ "aliases", "sales@example.test |/usr/bin/x", NULL },
	{ "aliases", "sales@example.test |x", "absolute" },
	{ "aliases", "sales@example.test /var/mail/x", NULL },
	{ "aliases", "sales@example.test /var/../x", "path" },
	{ "aliases", "sales@example.test :refuse: 550 5.1.6 Gone to <x@y.test>", NULL },
	{ "aliases", "sales@example.test :refuse: 450 no", "5xx" },
	{ "aliases", "sales@example.test :defer: 450 4.2.1 later", NULL },
	{ "aliases", "sales@example.test :include:nothere", "No such file" },
	{ "aliases", "sales@example.test", "target" },
	{ "aliases", "sales@example.test alice, owner=bob@example.test", NULL },
	{ "aliases", "sales@example.test alice, owner=bob", "address" },
	{ "routes", "far.test mx", NULL },
	{ "routes", "far.test mx:other.test tls=dane", NULL },
	{ "routes", "far.test mx" MAY120, NULL },
	{ "routes", "far.test mx" MAY130, "1000 bytes" },
	{ "routes", "far.test mx credentials=" A50 A50 A50 A50 A50 A50 A50, "320 bytes" },
	{ "routes", ".far.test host.test tls=verify source=192.0.2.1 credentials=x", NULL },
	{ "routes", "* smart.test:587 tls=encrypt", NULL },
	{ "routes", "a@far.test [192.0.2.1]", NULL },
	{ "routes", "far.test [smart.test]:587", NULL },
	{ "routes", "far.test [b\xc3\xbc" "cher.test]", NULL },
	{ "routes", "far.test [smart.test", "bracket" },
	{ "routes", "far.test []:25", "" },
	{ "routes", "far.test [smart.test]587", "bracket" },
	{ "routes", "far.test host.test tls=maybe", "tls is" },
	{ "routes", ".far.test host.test source=192.0.2.1,2001:db8::1", NULL },
	{ "routes", "far.test host.test source=here", "address" },
	{ "routes", "far.test host.test source=", "address" },
	{ "routes", "far.test host.test source=192.0.2.1,192.0.2.2", "each family" },
	{ "routes", "far.test host.test source=192.0.2.1,2001:db8::1,192.0.2.2", "each family" },
	{ "routes", "far.test", "next hop" },
	{ "access", "192.0.2.0/24 refuse", NULL },
	{ "access", "client:2001:db8::/32 defer 451 4.7.1 Later, please", NULL },
	{ "access", "192.0.2.1 accept, tag friend, by-pass spf", NULL },
	{ "access", "192.0.2.1/24 refuse", "" },
	{ "access", "ptr:.dyn.test tag x", NULL },
	{ "access", "helo:localhost refuse", NULL },
	{ "access", "from:@x.test refuse 554 5.7.1 No", NULL },
	{ "access", "from:<> tag report", NULL },
	{ "access", "to:a@example.test refuse", NULL },
	{ "access", "192.0.2.1 explode", "unknown action" },
	{ "access", "192.0.2.1", "action is missing" },
	{ "access", "192.0.2.1 refuse 250 ok", "5xx" },
	{ "access", "192.0.2.1 accept, refuse", "two verdicts" },
	{ "access", "somewhere.test refuse", "ptr:" },
	{ "senders", "alice alice@example.test, @example.test, *", NULL },
	{ "senders", "unix:root root@example.test", NULL },
	{ "senders", "alice bob", "address" },
	{ "senders", "alice", "missing" },
	{ "clients", "192.0.2.1 example.test, .example.test, *", NULL },
	{ "clients", "10.0.0.0/8 example.test", "wide" },
	{ "clients", "10.0.0.0/8 wide, example.test", NULL },
	{ "clients", "2001:db8::/48 *", "wide" },
	{ "clients", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 *", NULL },
	{ "clients", "sha256:12 *", "fingerprint" },
	{ "clients", "192.0.2.1", "missing" },
	{ "clients", "10.1.2.3/8 wide, *", "" },
	{ "credentials", "alice $6$abc$def", NULL },
	{ "credentials", "alice $1$abc$def", "no hash" },
	{ "credentials", "hop1 hop user \"pass word\"", NULL },
	{ "credentials", "hop1 hop user", "password" },
	{ "credentials", "hop1 hop " A50 A50 A50 A50 A50 A50 A50 " password", "320 bytes" },
	{ "credentials", "hop1 hop user " A500 A500 A500 A500 A50, "2000" },
	{ "credentials", "alice SCRAM-SHA-256$1:x$y:z", "rounds" },
	{ "credentials", "alice", "missing" },
	{ "hosters", "198.51.100.0/24", NULL },
	{ "hosters", "_spf.hoster.test", NULL },
};

static void every_line_is_taken_or_refused_with_its_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct complaints wrong = { BUF_INIT(100000), 0 };
		char text[3000];
		snprintf(text, sizeof text, "# first\n%s\n", rows[i].line);
		kit_begin();
		kit_put(rows[i].map, slice_of(text));
		struct map_set *set = kit_read(&wrong);
		struct slice told = buf_slice(&wrong.text);
		if ((set == NULL) != (rows[i].why != NULL))
			fail_msg("%s: %s: %.*s", rows[i].map, rows[i].line, SLICE_FMT(told));
		if (rows[i].why) {
			char begin[100];
			snprintf(begin, sizeof begin, "%s:2: ", rows[i].map);
			bool placed = slice_starts(told, slice_of(begin)) || strstr(rows[i].why, "not there");
			if (!placed || slice_find_slice(told, slice_of(rows[i].why)) == told.n)
				fail_msg("%s: %s: %.*s", rows[i].map, rows[i].line, SLICE_FMT(told));
		}
		map_set_close(set);
		complaint_free(&wrong);
		kit_end();
	}
}

static struct map_set *set;
static struct arena mem = ARENA_INIT(1 << 20);

/* A next hop has one spelling, whichever of its forms is written. */
static void next_hops_have_one_spelling(void **state)
{
	(void)state;
	static const char *const same[][2] = {
		{ "mx", "mx:" }, { "mx:Far.TEST", "mx:far.test" }, { "smart.test", "smart.test:25" }, { "Smart.test:587", "smart.test:587" }, { "[smart.test]:587", "smart.test:587" },
		{ "[smart.test]", "smart.test:25" }, { "192.0.2.1", "[192.0.2.1]:25" }, { "192.0.2.1:26", "[192.0.2.1]:26" }, { "[192.0.2.1]:26", "[192.0.2.1]:26" },
		{ "[2001:db8::1]", "[2001:db8::1]:25" }, { "lmtp:[::1]:24", "lmtp:[::1]:24" }, { "lmtp:store.test:24", "lmtp:store.test:24" }, { "lmtp:[store.test]:24", "lmtp:store.test:24" },
		{ "lmtp:unix:/run/lmtp", "lmtp:unix:/run/lmtp" },
	};
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		struct slice place = SLICE("");
		const char *why = map_place_parse(slice_of(same[i][0]), &mem, &place);
		if (why || !slice_eq(place, slice_of(same[i][1])))
			fail_msg("%s: %s %.*s", same[i][0], why ? why : "", SLICE_FMT(place));
	}
}

static struct mail_path path(const char *text)
{
	struct mail_path p = { 0 };
	const char *why;
	if (*text)
		assert_int_equal(mail_path_parse_address(slice_of(text), &mem, &p, &why), 0);
	return p;
}

static struct net_ip ip(const char *text)
{
	struct net_ip out;
	assert_true(net_ip_parse(slice_of(text), &out));
	return out;
}

static int world(void **state)
{
	(void)state;
	struct complaints wrong = { BUF_INIT(100000), 0 };
	kit_begin();
	kit_put("domains", SLICE("example.test mailbox sole-sender size=1M\n*.sub.test mailbox\nother.test alias-of example.test\n"));
	kit_put("access", SLICE("192.0.2.0/24 refuse Go\n192.0.2.7 accept\n::/0 tag six\nptr:.dyn.test tag dynamic\nptr:a.dyn.test accept\nfrom:bad@x.test refuse 554 5.7.9 You\n"
	                        "from:@x.test tag x\nfrom:@.y.test defer\nfrom:<> tag null\nto:trap@example.test refuse\nhelo:localhost refuse\n198.51.100.1 by-pass spf, by-pass dnsbl\n"));
	kit_put("clients", SLICE("192.0.2.10 example.test, .sub.test\n10.0.0.0/8 wide, *\nsha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 far.test\n"));
	kit_put("senders", SLICE("alice alice@example.test, sales@Example.test\nrobot @lists.sub.test\nadmin *\nunix:root root@example.test\n"));
	set = kit_read(&wrong);
	if (!set)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&wrong.text)));
	complaint_free(&wrong);
	return 0;
}

static int end(void **state)
{
	(void)state;
	map_set_close(set);
	arena_free(&mem);
	kit_end();
	return 0;
}

static void the_most_exact_line_of_access_counts(void **state)
{
	(void)state;
	struct access a;
	struct net_ip one = ip("192.0.2.1"), seven = ip("192.0.2.7"), six = ip("2001:db8::1"), other = ip("203.0.113.1"), pass = ip("198.51.100.1");
	assert_int_equal(access_client(set, &one, &mem, &a), FOUND);
	assert_int_equal(a.verdict, ACCESS_REFUSE);
	assert_true(slice_eq(a.status.text, SLICE("Go")));
	assert_int_equal(a.status.code, 550);
	assert_int_equal(access_client(set, &seven, &mem, &a), FOUND);
	assert_int_equal(a.verdict, ACCESS_ACCEPT);
	assert_int_equal(access_client(set, &six, &mem, &a), FOUND);
	assert_int_equal(a.tag_count, 1);
	assert_int_equal(access_client(set, &other, &mem, &a), ABSENT);
	assert_int_equal(a.verdict, ACCESS_NONE);
	assert_int_equal(access_client(set, &pass, &mem, &a), FOUND);
	assert_true(a.by_pass_count == 2 && slice_eq(a.by_pass[1], SLICE("dnsbl")));
	assert_int_equal(access_ptr(set, SLICE("x.dyn.test"), &mem, &a), FOUND);
	assert_int_equal(a.tag_count, 1);
	assert_int_equal(access_ptr(set, SLICE("A.DYN.test."), &mem, &a), FOUND);
	assert_int_equal(a.verdict, ACCESS_ACCEPT);
	assert_int_equal(access_helo(set, SLICE("LocalHost"), &mem, &a), FOUND);
	assert_int_equal(access_helo(set, SLICE("[127.0.0.1]"), &mem, &a), ABSENT);
	struct mail_path bad = path("BAD@X.test"), good = path("good@x.test"), deep = path("a@b.c.y.test"), y = path("a@y.test"), null = path(""), trap = path("trap@example.test");
	assert_int_equal(access_from(set, &bad, &mem, &a), FOUND);
	assert_int_equal(a.status.code, 554);
	assert_int_equal(a.status.enhanced[1], 9);
	assert_int_equal(access_from(set, &good, &mem, &a), FOUND);
	assert_int_equal(a.verdict, ACCESS_NONE);
	assert_int_equal(access_from(set, &deep, &mem, &a), FOUND);
	assert_int_equal(a.verdict, ACCESS_DEFER);
	assert_int_equal(a.status.code, 450);
	assert_int_equal(access_from(set, &y, &mem, &a), ABSENT);
	assert_int_equal(access_from(set, &null, &mem, &a), FOUND);
	assert_int_equal(access_to(set, &trap, &mem, &a), FOUND);
}

static void clients_speak_for_what_their_line_says(void **state)
{
	(void)state;
	struct net_ip ten = ip("192.0.2.10"), wide = ip("10.9.9.9"), other = ip("203.0.113.1");
	struct slice key, none = SLICE(""), print = SLICE("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
	assert_int_equal(clients_may_speak(set, &ten, none, SLICE("Example.test"), &mem, &key), FOUND);
	assert_int_equal(clients_may_speak(set, &ten, none, SLICE("a.sub.test"), &mem, NULL), FOUND);
	assert_int_equal(clients_may_speak(set, &ten, none, SLICE("sub.test"), &mem, NULL), ABSENT);
	assert_int_equal(clients_may_speak(set, &ten, none, SLICE("other.test"), &mem, NULL), ABSENT);
	assert_int_equal(clients_may_speak(set, &wide, none, SLICE("other.test"), &mem, NULL), FOUND);
	assert_int_equal(clients_may_speak(set, &wide, none, SLICE("far.test"), &mem, NULL), ABSENT);
	assert_int_equal(clients_may_speak(set, &other, none, SLICE("example.test"), &mem, NULL), ABSENT);
	assert_int_equal(clients_may_speak(set, &other, print, SLICE("far.test"), &mem, NULL), FOUND);
	assert_int_equal(clients_may_speak(set, &ten, none, SLICE(""), &mem, NULL), ABSENT);
	assert_int_equal(clients_known(set, &wide, none, &mem), FOUND);
}

static enum answer may(const char *who, const char *address)
{
	struct mail_path p = path(address);
	return senders_may_use(set, slice_of(who), &p, &mem);
}

static void logins_use_what_senders_grants_and_their_own_address(void **state)
{
	(void)state;
	assert_int_equal(may("alice", "alice@example.test"), FOUND);
	assert_int_equal(may("ALICE", "alice@example.test"), FOUND);
	assert_int_equal(may("alice", "alice+tag@example.test"), FOUND);
	assert_int_equal(may("alice", "Sales@EXAMPLE.test"), FOUND);
	assert_int_equal(may("alice", "bob@example.test"), ABSENT);
	assert_int_equal(may("robot", "any@lists.sub.test"), FOUND);
	assert_int_equal(may("robot", "any@sub.test"), ABSENT);
	assert_int_equal(may("admin", "any@a.sub.test"), FOUND);
	assert_int_equal(may("admin", "any@far.test"), ABSENT);
	assert_int_equal(may("bob@example.test", "bob@example.test"), FOUND);
	assert_int_equal(may("bob@example.test", "bob+x@example.test"), FOUND);
	assert_int_equal(may("bob@example.test", "alice@example.test"), ABSENT);
	assert_int_equal(may("bob@far.test", "bob@far.test"), ABSENT);
	assert_int_equal(may("unix:root", "root@example.test"), FOUND);
	assert_int_equal(may("root", "root@example.test"), ABSENT);
	assert_int_equal(may("unix:ROOT", "root@example.test"), ABSENT);
	assert_int_equal(may("nobody", ""), FOUND);
}

/* RFC 6532, 3.1; only ASCII is folded. */
static void a_local_part_has_one_spelling(void **state)
{
	static const struct { const char *a, *b; bool exact, same; } pairs[] = {
		{ "jo\xcc\x88rg", "j\xc3\xb6rg", false, true }, { "jo\xcc\x88rg", "j\xc3\xb6rg", true, true }, { "ANN", "ann", false, true }, { "ANN", "ann", true, false },
		{ "j\xc3\x96rg", "j\xc3\xb6rg", false, false }, { "\xe2\x84\xab", "\xc3\x85", false, true } /* Angstrom, A with a ring */, { "\xef\xac\x81", "fi", false, false } /* a ligature is compatible, not the same */,
	};
	struct arena keys = ARENA_INIT(1 << 16);
	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		struct slice a = map_key_local(slice_of(pairs[i].a), pairs[i].exact, &keys), b = map_key_local(slice_of(pairs[i].b), pairs[i].exact, &keys);
		if (!a.p || !b.p || slice_eq(a, b) != pairs[i].same)
			fail_msg("%s and %s: %.*s and %.*s", pairs[i].a, pairs[i].b, SLICE_FMT(a), SLICE_FMT(b));
	}
	assert_null(map_key_local(SLICE("j\xf6rg"), false, &keys).p);
	arena_free(&keys);
}

static void a_domain_is_found_exactly_then_by_its_parent(void **state)
{
	(void)state;
	struct map_domain d;
	assert_int_equal(domains_find(set, SLICE("EXAMPLE.TEST"), &mem, &d), FOUND);
	assert_true(d.sole_sender && d.size_limit == 1 << 20);
	assert_int_equal(domains_find(set, SLICE("a.b.sub.test"), &mem, &d), FOUND);
	assert_int_equal(domains_find(set, SLICE("sub.test"), &mem, &d), ABSENT);
	assert_int_equal(domains_find(set, SLICE("other.test"), &mem, &d), FOUND);
	assert_int_equal(d.kind, DOMAIN_ALIAS_OF);
	assert_int_equal(domains_find(set, SLICE(".sub.test"), &mem, &d), ABSENT);
	assert_int_equal(domains_find(set, SLICE(""), &mem, &d), ABSENT);
}

static void items_keep_quotes_together(void **state)
{
	(void)state;
	struct slice v = SLICE(" a ,  \"b, c\" ,,d"), item;
	assert_true(map_item(&v, ',', &item) && slice_eq(item, SLICE("a")));
	assert_true(map_item(&v, ',', &item) && slice_eq(item, SLICE("\"b, c\"")));
	assert_true(map_item(&v, ',', &item) && slice_eq(item, SLICE("d")));
	assert_false(map_item(&v, ',', &item));
}

static void an_author_is_one_that_the_submitter_may_write_as(void **state)
{
	static const struct { const char *login, *ip, *head; int code; } cases[] = {
		{ "alice", NULL, "From: Alice <alice@example.test>\r\n", 0 },
		{ "alice", NULL, "From: alice@example.test, sales@example.test\r\n", 0 },
		{ "alice", NULL, "From: alice@example.test, bob@example.test\r\n", 550 },
		{ "alice", NULL, "From: alice@example.test\r\nFrom: alice@example.test\r\n", 550 },
		{ "alice", NULL, "From: <alice@example.test\r\n", 550 },
		{ "alice", NULL, "From: \"bob@example.test\"\r\n", 550 },
		{ "alice", NULL, "From: root\r\n", 0 },
		{ "alice", NULL, "Subject: no author\r\n", 0 },
		{ "unix:root", NULL, "From: root@example.test\r\n", 0 },
		{ "unix:root", NULL, "From: alice@example.test\r\n", 550 },
		{ "", "192.0.2.10", "From: any@example.test\r\n", 0 },
		{ "", "192.0.2.10", "From: any@example.test, any@far.test\r\n", 550 },
		{ "", "203.0.113.1", "From: any@example.test\r\n", 550 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct net_ip from = ip(cases[i].ip ? cases[i].ip : "::1");
		const struct submitter who = { set, slice_of(cases[i].login), &from, SLICE("") };
		struct mail_header h;
		assert_int_equal(mail_header_parse(slice_of(cases[i].head), SIZE_MAX, &mem, &h), 0);
		int code = author_judge(&who, &h, &mem).code;
		if (code != cases[i].code && !(cases[i].code == 0 && code < 400))
			fail_msg("%s %s: %d", cases[i].login, cases[i].head, code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_is_taken_or_refused_with_its_reason),
		cmocka_unit_test_setup_teardown(the_most_exact_line_of_access_counts, world, end),
		cmocka_unit_test_setup_teardown(clients_speak_for_what_their_line_says, world, end),
		cmocka_unit_test_setup_teardown(logins_use_what_senders_grants_and_their_own_address, world, end),
		cmocka_unit_test_setup_teardown(an_author_is_one_that_the_submitter_may_write_as, world, end),
		cmocka_unit_test(a_local_part_has_one_spelling),
		cmocka_unit_test_setup_teardown(a_domain_is_found_exactly_then_by_its_parent, world, end),
		cmocka_unit_test(items_keep_quotes_together),
		cmocka_unit_test(next_hops_have_one_spelling),
	};
	return cmocka_run_group_tests_name("maps_values", tests, NULL, NULL);
}
