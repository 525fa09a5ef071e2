/* For tests of the ledger: one in a folder of its own, asked as the queue process asks, and the questions in short forms. */
#ifndef TESTS_LEDGER_KIT_H
#define TESTS_LEDGER_KIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/ledger.h"

static struct loop *loop;
static struct ledger *ledger;
static char folder[40];
static unsigned alerts;
static struct ledger_limits limits = { .entries = 100000, .outcome_s = 5 * 86400, .sent_s = 14 * 86400, .seen_s = 30 * 86400, .ask_s = 7 * 86400,
	.ask_refused_s = 600, .lost_s = 4 * 3600 };

static inline void alert(void *arg, struct slice text)
{
	(void)arg, (void)text;
	alerts++;
}

static inline void answered(void *arg, struct buf *answer)
{
	struct buf *kept = arg;
	buf_clear(kept);
	buf_add(kept, buf_slice(answer));
	loop_stop(loop);
}

/* Asks and waits; in is freed. */
static inline void ask(uint16_t type, struct buf *in, struct buf *out)
{
	assert_int_equal(ledger_ask(ledger, type, buf_slice(in), answered, out), 0);
	buf_free(in);
	loop_run(loop);
}

static inline void open_ledger(void)
{
	assert_int_equal(ledger_open(loop, folder, &limits, alert, NULL, &ledger), 0);
}

static inline int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/porter-ledger-XXXXXX");
	assert_non_null(mkdtemp(folder));
	alerts = 0;
	open_ledger();
	return 0;
}

static inline int tear_down(void **state)
{
	char command[100];
	(void)state;
	ledger_close(ledger);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static inline int start(void **state)
{
	(void)state;
	log_open(open("/dev/null", O_WRONLY), LOG_FORM_TEXT, "test");
	loop = loop_new();
	return 0;
}

static inline int stop(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

/* -- short forms -------------------------------------------------------------------------------------------------------------------------------- */

#define OK MAIL_STATUS_OK
#define S(path, digest) source(path, digest, "<1@a>", "192.0.2.0/24", "")

static inline struct ledger_source source(const char *path, char digest, const char *id, const char *network, const char *domain)
{
	static char digests[256][QUEUE_DIGEST];
	memset(digests[(unsigned char)digest], digest, QUEUE_DIGEST);
	return (struct ledger_source){ slice_of(path), slice(digests[(unsigned char)digest], QUEUE_DIGEST), slice_of(id), slice_of(network), slice_of(domain) };
}

static inline void note(struct ledger_source s, const char *leaf, enum ledger_fate fate, struct mail_status status, const char *name)
{
	struct ledger_entry e = { slice_of(leaf), fate, status, slice_of(name) };
	struct ledger_note m = { s, LEDGER_NOTE_FIRM, &e, 1 };
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	struct mail_status said;
	ledger_put_note(&in, &m);
	ask(LEDGER_NOTE, &in, &out);
	assert_true(queue_get_status(buf_slice(&out), &said) == 0 && said.fate == MAIL_OK);
	buf_free(&out);
}

static inline enum ledger_found look(const char *path, const char *leaf)
{
	struct ledger_look m = { slice_of(path), slice_of(leaf) };
	struct ledger_looked said;
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	ledger_put_look(&in, &m);
	ask(LEDGER_LOOK, &in, &out);
	assert_true(ledger_get_looked(buf_slice(&out), &said) == 0 && said.answer == FOUND);
	buf_free(&out);
	return said.found;
}

static char words[400];

/* "done", "refused 550 5.7.1 text", "intent NAME", "unknown" */
static inline const char *decide(struct ledger_source s, const char *leaf)
{
	struct slice leaves[1] = { slice_of(leaf) };
	struct ledger_decide m = { s, leaves, 1 };
	struct ledger_decided said;
	struct arena mem = ARENA_INIT(1 << 20);
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	ledger_put_decide(&in, &m);
	ask(LEDGER_DECIDE, &in, &out);
	assert_true(ledger_get_decided(buf_slice(&out), &mem, &said) == 0 && said.answer == FOUND && said.count == 1);
	const struct ledger_entry *e = &said.entries[0];
	static const char *const fates[] = { "unknown", "done", "refused", "intent", "lost" };
	snprintf(words, sizeof words, "%s", fates[e->fate]);
	if (e->fate == LEDGER_REFUSED)
		snprintf(words, sizeof words, "refused %u %u.%u %.*s", e->status.code, e->status.enhanced[0], e->status.enhanced[1], SLICE_FMT(e->status.text));
	if (e->fate == LEDGER_INTENT)
		snprintf(words, sizeof words, "intent %.*s", SLICE_FMT(e->name));
	arena_free(&mem);
	buf_free(&out);
	return words;
}

static inline enum answer texts(uint16_t type, const char *a, const char *b, const char *c)
{
	struct slice list[3] = { slice_of(a), slice_of(b), slice_of(c) };
	struct buf in = BUF_INIT(65536), out = BUF_INIT(65536);
	enum answer said = UNSURE;
	queue_put_texts(&in, list, c ? 3 : b ? 2 : 1);
	ask(type, &in, &out);
	if (type != QUEUE_SENT)
		assert_int_equal(queue_get_answer(buf_slice(&out), &said), 0);
	buf_free(&out);
	return said;
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#endif
