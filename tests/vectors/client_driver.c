/* Our SMTP and LMTP client for the suites that play a server: client_driver PORT [lmtp] [tls=WORD] [budget=MS]. Its input is what shall be sent:
 *	MAIL <reverse-path> [size=N] [prdr]    RCPT <address>    GO or ASK (with content, or up to RCPT alone)    QUIT
 * Its output is a line for each transaction: the code of each RCPT, "/", the code of each content's reply (none for ASK). Transactions follow each
 * other, on the same connection where it lasts; QUIT ends it, and so does the end. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/scan.h"
#include "delivery/attempt.h"
#include "delivery/pool.h"

enum { MAX_RCPTS = 500, LINE_MAX_BYTES = 2000, PATIENCE_MS = 30000 };

static struct loop *loop;
static struct hops hops;
static char place[100];
static uint64_t budget_ms;

static struct transaction {
	char from[LINE_MAX_BYTES], to[MAX_RCPTS][300];
	struct hop_envelope envelope;
	size_t count, told;
	bool whole, done;
	int rcpts[MAX_RCPTS], each[MAX_RCPTS];
	size_t each_count;
} t;

static void look_for_end(void)
{
	if (t.told == t.count && (t.done || !t.whole))
		loop_stop(loop);
}

static void on_rcpt(void *arg, size_t index, const struct mail_status *s, struct slice reply)
{
	(void)arg, (void)reply;
	t.rcpts[index] = s->code;
	t.told++;
	look_for_end();
}

static void on_content(void *arg, const struct hop_content_done *d, struct slice reply)
{
	(void)arg, (void)reply;
	t.done = true;
	t.each_count = d->count;
	for (size_t i = 0; i < d->count && i < MAX_RCPTS; i++)
		t.each[i] = d->each[i].code;
	look_for_end();
}

static void on_late(void *arg, const struct hop_content_done *d)
{
	(void)arg, (void)d;
}

static void out_of_patience(void *arg)
{
	(void)arg;
	printf("stuck\n");
	exit(1);
}

static void run(void)
{
	static const struct attempt_handler handler = { on_rcpt, on_content, on_late, NULL };
	struct loop_timer *patience = loop_timer_new(loop, out_of_patience, NULL);
	struct attempt *a = attempt_new(&hops, &t.envelope, &handler, NULL);
	for (size_t i = 0; i < t.count; i++)
		attempt_rcpt(a, &(struct hop_recipient){ .address = slice_of(t.to[i]) });
	if (t.whole)
		attempt_content(a, body_new(loop, hops.worker, &(struct body_plan){ .content = SLICE("Subject: x\r\n\r\n.hello\r\n"), .fd = -1 }), budget_ms);
	loop_timer_set(patience, PATIENCE_MS);
	loop_run(loop);
	loop_timer_free(patience);
	attempt_free(a);
	for (size_t i = 0; i < t.count; i++)
		printf("%d ", t.rcpts[i]);
	printf("/");
	for (size_t i = 0; t.whole && i < t.each_count; i++)
		printf(" %d", t.each[i]);
	printf("\n");
	fflush(stdout);
}

static void read_mail(struct slice words)
{
	t.count = t.told = t.each_count = 0;
	t.done = false;
	t.envelope = (struct hop_envelope){ .transaction = SLICE("T"), .place = slice_of(place), .budget_ms = budget_ms };
	struct slice path = slice_cut(words, ' ', &words);
	snprintf(t.from, sizeof t.from, "%.*s", (int)(path.n - 2), path.p + 1);
	t.envelope.reverse_path = slice_of(t.from);
	while (words.n) {
		struct slice word = slice_cut(words, ' ', &words);
		if (slice_eq(word, SLICE("prdr")))
			t.envelope.flags |= HOP_PRDR;
		else if (scan_word(&word, SLICE("size=")))
			scan_uint_all(word, 1 << 30, &t.envelope.size);
	}
}

/* The pool says QUIT where nothing is open; a reset after the last transaction is waited for. */
static void last_reply(void *arg, struct client *c, enum client_step step, size_t index, const struct mail_reply *r)
{
	(void)arg, (void)c, (void)step, (void)index, (void)r;
	loop_stop(loop);
}

static void last_end(void *arg, struct client *c, enum client_end how, struct mail_status s)
{
	(void)arg, (void)c, (void)how, (void)s;
	loop_stop(loop);
}

static void wake(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void quit(void)
{
	static const struct client_handler handler = { NULL, last_reply, last_end };
	char key[120];
	struct link *l;
	struct loop_timer *patience = loop_timer_new(loop, out_of_patience, NULL), *soon = loop_timer_new(loop, wake, NULL);
	snprintf(key, sizeof key, "%s 00 ", place); /* as delivery/attempt.c has it: neither REQUIRETLS nor waived */
	loop_timer_set(patience, PATIENCE_MS);
	while (pool_count(hops.pool)) {
		if (!(l = pool_take_place(hops.pool, slice_of(key)))) { /* replies are still to come */
			loop_timer_set(soon, 5);
			loop_run(loop);
			continue;
		}
		client_own(l->client, &handler, l);
		if (!client_is_idle(l->client))
			loop_run(loop);
		client_quit(l->client);
		l->client = NULL;
		link_free(l);
	}
	loop_timer_free(patience);
	loop_timer_free(soon);
}

static void read_line(struct slice line)
{
	if (scan_word(&line, SLICE("MAIL "))) {
		read_mail(line);
	} else if (scan_word(&line, SLICE("RCPT ")) && t.count < MAX_RCPTS) {
		snprintf(t.to[t.count++], sizeof t.to[0], "%.*s", (int)(line.n - 2), line.p + 1);
	} else if (slice_eq(line, SLICE("QUIT"))) {
		quit();
		dead_forget_all(hops.dead);
	} else {
		t.whole = slice_eq(line, SLICE("GO"));
		run();
	}
}

int main(int argc, char **argv)
{
	char line[LINE_MAX_BYTES];
	log_open(getenv("SHOW_LOG") ? 2 : open("/dev/null", O_WRONLY), LOG_FORM_TEXT, "driver");
	loop = loop_new();
	hops_init(&hops, loop);
	hops.helo = SLICE("me.test");
	hops.tls = SLICE("none");
	hops.chunking = false;
	snprintf(place, sizeof place, "[127.0.0.1]:%s", argc > 1 ? argv[1] : "25");
	for (int i = 2; i < argc; i++) {
		struct slice word = slice_of(argv[i]);
		if (slice_eq(word, SLICE("lmtp")))
			snprintf(place, sizeof place, "lmtp:[127.0.0.1]:%s", argv[1]);
		else if (scan_word(&word, SLICE("tls=")))
			hops.tls = word;
		else if (scan_word(&word, SLICE("budget=")))
			scan_uint_all(word, 600000, &budget_ms);
	}
	while (fgets(line, sizeof line, stdin))
		read_line(slice_trim(slice_of(line)));
	quit();
	return 0;
}
