/* Two readers under a compile loop: never half a generation, across all maps at once. PORTER_SECONDS: how long (3). */
#include "tests/unit/maps_kit.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "maps/compile.h"
#include "maps/manifest.h"

enum { SOME = 5 }; /* compiles at least */

static char etc[200], maps[200], secrets[200];

/* In each generation the alias `marker` names the one recipient of that generation. 0 if they agree. */
static int look_once(uint64_t *opened)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct map_set *set;
	struct map_entry alias, recipient;
	const char *why = "";
	uint64_t n = manifest_current(maps);
	int error = map_set_open(maps, "", n, &mem, &set, &why);
	if (error == -ENOENT) { /* dropped as old between the two steps: the next look finds the new one */
		arena_free(&mem);
		return 0;
	}
	if (error) {
		fprintf(stderr, "generation %llu: %s: %d\n", (unsigned long long)n, why, error);
		return 1;
	}
	int bad = map_find(set, MAP_ALIASES, SLICE("marker@example.test"), &mem, &alias) != FOUND ||
	          map_find(set, MAP_RECIPIENTS, alias.value, &mem, &recipient) != FOUND;
	if (bad)
		fprintf(stderr, "generation %llu is not whole\n", (unsigned long long)n);
	++*opened;
	map_set_close(set);
	arena_free(&mem);
	return bad;
}

static void read_until(uint64_t end_ms)
{
	uint64_t opened = 0;
	int bad = 0;
	while (!bad && clock_mono_ms() < end_ms)
		bad = look_once(&opened);
	_exit(bad ? 1 : opened > 10 ? 0 : 2);
}

static void write_maps(unsigned n)
{
	struct buf recipients = BUF_INIT(1 << 20);
	char alias[200];
	for (unsigned i = 0; i < 500; i++)
		buf_addf(&recipients, "filler%u-%u@example.test\n", i, n);
	buf_addf(&recipients, "g%u@example.test\n", n);
	snprintf(alias, sizeof alias, "marker@example.test g%u@example.test\n", n);
	kit_put("recipients", buf_slice(&recipients));
	kit_put("aliases", slice_of(alias));
	buf_free(&recipients);
}

static uint64_t compile(void)
{
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct compile_result r;
	struct compile_plan plan = { .directory = slice_of(etc), .maps_directory = maps, .secrets_directory = secrets, .keep = 5, .prove = true, .publish = true };
	if (compile_maps(&plan, &wrong, &r) != 0)
		fail_msg("%.*s", SLICE_FMT(buf_slice(&wrong.text)));
	complaint_free(&wrong);
	return r.generation;
}

static void two_readers_never_see_half_a_generation(void **state)
{
	(void)state;
	const char *seconds = getenv("PORTER_SECONDS");
	uint64_t ms = 1000 * (seconds ? strtoull(seconds, NULL, 10) : 3), made = 0;
	pid_t readers[2];
	kit_begin();
	snprintf(etc, sizeof etc, "%s/etc", kit_top);
	snprintf(maps, sizeof maps, "%s/maps", kit_top);
	snprintf(secrets, sizeof secrets, "%s/secrets", kit_top);
	kit_put("domains", SLICE("example.test mailbox\n"));
	write_maps(0);
	compile();
	uint64_t end = clock_mono_ms() + ms;
	for (int i = 0; i < 2; i++) {
		readers[i] = fork();
		assert_true(readers[i] >= 0);
		if (readers[i] == 0)
			read_until(end);
	}
	for (unsigned n = 1; clock_mono_ms() < end || n <= SOME; n++) { /* on a busy machine one may take longer than all the time there is */
		write_maps(n);
		made = compile();
	}
	for (int i = 0; i < 2; i++) {
		int status;
		assert_int_equal(waitpid(readers[i], &status, 0), readers[i]);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	assert_true(made > SOME);
	kit_end();
}

/* In strict mode the kernel kills a process for any call but read, write and exit. */
static void look_up_in_strict_mode(uint64_t generation)
{
	struct arena mem = ARENA_INIT(1 << 20);
	struct map_set *set;
	struct map_entry e;
	const char *why;
	char key[64];
	unsigned found = 0;
	if (map_set_open(maps, "", generation, &mem, &set, &why) != 0)
		_exit(2);
	map_find(set, MAP_RECIPIENTS, SLICE("warm@example.test"), &mem, &e);
	arena_reset(&mem);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		_exit(3);
	for (unsigned i = 0; i < 20000; i++) {
		size_t n = 0;
		for (const char *p = "filler"; *p;)
			key[n++] = *p++;
		for (unsigned k = i % 1000, digits = k < 10 ? 1 : k < 100 ? 2 : 3, d = digits; d-- > 0; k /= 10) {
			key[n + d] = (char)('0' + k % 10);
			if (d == 0)
				n += digits;
		}
		for (const char *p = "-0@example.test"; *p;)
			key[n++] = *p++;
		found += map_find(set, MAP_RECIPIENTS, slice(key, n), &mem, &e) == FOUND;
		arena_reset(&mem);
	}
	syscall(SYS_exit, found == 10000 ? 0 : 1);
}

static void a_look_up_costs_no_system_call(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	skip();
#endif
	int status;
	kit_begin();
	snprintf(etc, sizeof etc, "%s/etc", kit_top);
	snprintf(maps, sizeof maps, "%s/maps", kit_top);
	snprintf(secrets, sizeof secrets, "%s/secrets", kit_top);
	kit_put("domains", SLICE("example.test mailbox\n"));
	write_maps(0);
	uint64_t n = compile();
	pid_t pid = fork();
	if (pid == 0)
		look_up_in_strict_mode(n);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	kit_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(two_readers_never_see_half_a_generation), cmocka_unit_test(a_look_up_costs_no_system_call) };
	return cmocka_run_group_tests_name("maps_readers", tests, NULL, NULL);
}
