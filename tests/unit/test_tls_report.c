/* TLS reports: counts by day, the JSON of RFC 8460, and who wants it; one mail written into a drop folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/ipc.h"
#include "base/mem.h"
#include "delivery/tls_report.h"
#include "delivery/tls_report_house.h"
#include "queue/drop.h"

static const int64_t noon = 1764072000; /* 2025-11-25 12:00:00 UTC */

static void note(struct tls_report *r, const char *domain, enum tls_report_result result, int64_t now)
{
	struct tls_report_event e = { slice_of(domain), TLS_REPORT_STS, SLICE("version: STSv1\nmode: enforce\nmx: mx.a.test\n"), SLICE("mx.a.test"), SLICE("192.0.2.1"),
		                      SLICE("198.51.100.7"), result };
	tls_report_note(r, &e, now);
}

static void a_day_is_told_when_it_is_over(void **state)
{
	(void)state;
	void *memory = mem_new(tls_report_size());
	struct tls_report *r = tls_report_attach(memory, tls_report_size());
	struct tls_report_day *d = MEM_NEW(struct tls_report_day);
	struct buf json = BUF_INIT(65536);
	for (int i = 0; i < 5; i++)
		note(r, "a.test", TLS_REPORT_SUCCESS, noon + i);
	note(r, "A.test", TLS_REPORT_EXPIRED, noon);
	note(r, "a.test", TLS_REPORT_EXPIRED, noon);
	note(r, "a.test", TLS_REPORT_HOST_MISMATCH, noon);
	size_t at = 0;
	assert_false(tls_report_over(r, &at, noon + 3600, d));
	tls_report_free(r);
	r = tls_report_attach(memory, tls_report_size()); /* a restart */
	assert_true(tls_report_over(r, &at, noon + 86400, d));
	assert_true(tls_report_over(r, &at, noon + 86400, d));
	tls_report_drop(r, at);
	assert_false(tls_report_over(r, &at, noon + 86400, d));
	tls_report_json(d, SLICE("Example \"Inc\""), SLICE("tls@example.test"), SLICE("1@mx"), &json);
	buf_add_byte(&json, '\0');
	assert_string_equal(json.p,
		"{\"organization-name\":\"Example \\\"Inc\\\"\",\"date-range\":{\"start-datetime\":\"2025-11-25T00:00:00Z\",\"end-datetime\":\"2025-11-25T23:59:59Z\"},"
		"\"contact-info\":\"tls@example.test\",\"report-id\":\"1@mx\",\"policies\":[{\"policy\":{\"policy-type\":\"sts\",\"policy-string\":[\"version: STSv1\","
		"\"mode: enforce\",\"mx: mx.a.test\"],\"policy-domain\":\"a.test\",\"mx-host\":[\"mx.a.test\"]},\"summary\":{\"total-successful-session-count\":5,\"total-failure-session-count\":3},"
		"\"failure-details\":[{\"result-type\":\"certificate-expired\",\"sending-mta-ip\":\"198.51.100.7\",\"receiving-ip\":\"192.0.2.1\",\"receiving-mx-hostname\":\"mx.a.test\",\"failed-session-count\":2},"
		"{\"result-type\":\"certificate-host-mismatch\",\"sending-mta-ip\":\"198.51.100.7\",\"receiving-ip\":\"192.0.2.1\",\"receiving-mx-hostname\":\"mx.a.test\",\"failed-session-count\":1}]}]}\n");
	buf_free(&json);
	tls_report_free(r);
	mem_free(d);
	mem_free(memory);
}

static void more_than_there_is_room_for_is_left_out(void **state)
{
	(void)state;
	struct tls_report *r = tls_report_attach(NULL, 0);
	char name[40];
	for (int i = 0; i < TLS_REPORT_DOMAINS + 10; i++) {
		snprintf(name, sizeof name, "d%d.test", i);
		note(r, name, TLS_REPORT_VALIDATION, noon);
	}
	struct tls_report_day *d = MEM_NEW(struct tls_report_day);
	size_t count = 0;
	for (size_t at = 0; tls_report_over(r, &at, noon + 86400, d); count++)
		tls_report_drop(r, at);
	assert_int_equal(count, TLS_REPORT_DOMAINS);
	mem_free(d);
	tls_report_free(r);
}

/* As many as there are, each once; one that is over makes room for another; a restart forgets none, and what a damaged file says of one ends its strings. */
static void what_is_to_be_told_again_lives_over_restarts(void **state)
{
	(void)state;
	void *memory = mem_new(tls_report_size());
	struct tls_report *r = tls_report_attach(memory, tls_report_size());
	struct tls_report_day *d = MEM_NEW(struct tls_report_day);
	struct tls_report_telling *all;
	size_t count;
	char place[40];
	d->day = 20000;
	for (int i = 0; i < TLS_REPORT_TELLINGS; i++) {
		snprintf(place, sizeof place, "https://a.test/%d", i);
		assert_non_null(tls_report_begin(r, d, SLICE("1@mx"), slice_of(place), noon, 600));
		assert_int_equal(tls_report_room(r), TLS_REPORT_TELLINGS - i - 1);
	}
	assert_null(tls_report_begin(r, d, SLICE("1@mx"), SLICE("https://b.test/"), noon, 600));
	all = tls_report_tellings(r, &count);
	assert_int_equal(count, TLS_REPORT_TELLINGS);
	all[7].began_s = 0;
	memset(all[9].place, 'x', sizeof all[9].place);
	all[9].pause_s = UINT64_MAX;
	tls_report_free(r);
	r = tls_report_attach(memory, tls_report_size()); /* a restart */
	all = tls_report_tellings(r, &count);
	assert_int_equal(tls_report_room(r), 1);
	assert_string_equal(all[8].place, "https://a.test/8");
	assert_true(all[8].began_s == noon && all[8].pause_s == 600 && all[8].day.day == 20000);
	assert_int_equal(strlen(all[9].place), sizeof all[9].place - 1);
	assert_true(all[9].pause_s <= 86400);
	assert_ptr_equal(tls_report_begin(r, d, SLICE("2@mx"), SLICE("https://b.test/"), noon, 600), &all[7]);
	tls_report_free(r);
	mem_free(d);
	mem_free(memory);
}

static void places_are_read(void **state)
{
	(void)state;
	struct slice p[TLS_REPORT_PLACES];
	assert_int_equal(tls_report_places(SLICE("v=TLSRPTv1; rua=mailto:a@b.test,https://c.test/d"), p), 2);
	assert_true(slice_eq(p[0], SLICE("mailto:a@b.test")) && slice_eq(p[1], SLICE("https://c.test/d")));
	assert_int_equal(tls_report_places(SLICE("v=TLSRPTv1;rua=http://c.test/d"), p), 0);
	assert_int_equal(tls_report_places(SLICE("rua=mailto:a@b.test; v=TLSRPTv1"), p), 0);
	assert_int_equal(tls_report_places(SLICE("v=TLSRPTv2; rua=mailto:a@b.test"), p), 0);
	assert_int_equal(tls_report_places(SLICE("v=TLSRPTv1; rua=mailto:a b@c.test"), p), 0);
	assert_int_equal(tls_report_result_of(SLICE("hostname mismatch")), TLS_REPORT_HOST_MISMATCH);
	assert_int_equal(tls_report_result_of(SLICE("certificate has expired")), TLS_REPORT_EXPIRED);
	assert_int_equal(tls_report_result_of(SLICE("self-signed certificate")), TLS_REPORT_NOT_TRUSTED);
	assert_int_equal(tls_report_result_of(SLICE("no matching DANE TLSA records")), TLS_REPORT_VALIDATION);
}

static void a_report_is_left_in_the_drop_folder(void **state)
{
	(void)state;
	char folder[] = "/tmp/porter-drop-XXXXXX", path[400];
	int fds[2], status;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char *words[] = { folder, "tls@us.test", "mx.us.test", "", "a.test", "id1@mx.us.test", "1764028800", "1764115199", "mailto:r%2Bt%2ctls@a.test?x=y" };
		dup2(fds[1], 0);
		_exit(tls_report_main(9, words));
	}
	assert_int_equal(ipc_send_blocking(fds[0], TLS_REPORT_TEXT, 1, SLICE("{}\n"), -1), 0);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	DIR *d = opendir(folder);
	struct dirent *e;
	size_t found = 0;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.') {
			char text[8192];
			struct arena mem = ARENA_INIT(1 << 20);
			struct drop head = { 0 };
			size_t offset;
			snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
			FILE *f = fopen(path, "r");
			size_t n = fread(text, 1, sizeof text, f);
			fclose(f);
			assert_int_equal(drop_get(slice(text, n), &mem, &head, &offset), 0);
			assert_true(slice_eq(head.reverse_path, SLICE("tls@us.test")) && head.recipient_count == 1 && slice_eq(head.recipients[0].address, SLICE("r+t,tls@a.test")));
			struct slice mail = slice(text + offset, n - offset);
			assert_true(slice_find_slice(mail, SLICE("TLS-Report-Domain: a.test\n")) < mail.n);
			assert_true(slice_find_slice(mail, SLICE("filename=\"mx.us.test!a.test!1764028800!1764115199.json.gz\"")) < mail.n);
			arena_free(&mem);
			unlink(path);
			found++;
		}
	closedir(d);
	rmdir(folder);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(found, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_day_is_told_when_it_is_over),
		cmocka_unit_test(more_than_there_is_room_for_is_left_out),
		cmocka_unit_test(what_is_to_be_told_again_lives_over_restarts),
		cmocka_unit_test(places_are_read),
		cmocka_unit_test(a_report_is_left_in_the_drop_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
