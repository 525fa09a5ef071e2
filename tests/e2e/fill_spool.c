/* fill_spool SPOOL COUNT [PLACES] [FOLDERS] [PLACE [AGE]]: COUNT deferred messages of one recipient each, at PLACES (1,000) destinations, in FOLDERS (0: all) of the folders of a spool that nobody serves: what a test would else have to send for minutes. The files are
 * those of queue/spool_put.c, without its syncs; they belong to the spool's owner. The next try of each is some time within the next hours; with PLACE, where all go, it is due, and they are AGE seconds old. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/unique.h"
#include "queue/spool_inside.h"

enum { FIRST_TRY_S = 7200, SPREAD_S = 14400, LIFETIME_S = 5 * 86400, MAX_RECORD = 64 << 10 };
static const char content[] = "Received: from client.test by mx.example.test; Thu, 1 Jan 2026 00:00:00 +0000\r\nFrom: a@flood.test\r\nSubject: one of many\r\n\r\nx\r\n";

static const char digits[] = "0123456789bcdfghjklmnpqrstvwxyz_";

static int put_one(struct spool *s, unsigned long i, unsigned long places, unsigned long folders, const char *where, int64_t age_s)
{
	struct unique id = unique_new();
	if (folders) { /* a microsecond has one id then, and a message takes longer */
		id.text[UNIQUE_LENGTH - 2] = digits[i % folders / 32];
		id.text[UNIQUE_LENGTH - 1] = digits[i % folders % 32];
	}
	char address[64], place[64], front[SPOOL_HEAD];
	snprintf(address, sizeof address, "u%lu@d%lu.far.test", i, i % places);
	snprintf(place, sizeof place, "mx:d%lu.far.test", i % places);
	if (where)
		snprintf(place, sizeof place, "%s", where);
	struct envelope_recipient to = { .address = slice_of(address), .place = slice_of(place) };
	int64_t now = clock_wall_s(), came = now - age_s;
	struct envelope e = { .id = unique_slice(&id), .arrived_s = came, .expires_s = came + LIFETIME_S, .evidence = { EVIDENCE_CLIENT, SLICE("flood.test"), SLICE("clients") },
		.reverse_path = SLICE("flood@flood.test"), .client = SLICE("127.0.0.1"), .transaction = unique_slice(&id), .recipients = &to, .recipient_count = 1 };
	struct event later = { .kind = EVENT_LATER, .at_s = now, .next_s = where ? now : now + FIRST_TRY_S + (int64_t)(i % SPREAD_S), .status = MAIL_STATUS(MAIL_LATER, 451, 4, 1, "No host of the destination can be reached: Connection refused"),
		.host = SLICE("mx.far.test[192.0.2.1]:25") };
	struct buf envelope = BUF_INIT(MAX_RECORD), all = BUF_INIT(MAX_RECORD);
	int folder = -1, fd = -1, error = envelope_put(&envelope, &e, false);
	struct spool_head h = { SPOOL_HEAD, sizeof content - 1, envelope.n, journal_checksum(buf_slice(&envelope)), spool_check_content(slice(content, sizeof content - 1)), true };
	spool_put_head(front, &h);
	buf_add(&all, slice(front, SPOOL_HEAD));
	buf_add(&all, slice(content, sizeof content - 1));
	buf_add(&all, buf_slice(&envelope));
	error = error ? error : event_put(&all, &later);
	error = error ? error : spool_folder_of(s, SPOOL_QUEUE, e.id, &folder);
	error = error ? error : file_open(folder, id.text, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd);
	error = error ? error : file_write(fd, buf_slice(&all));
	if (!error && fchown(fd, s->owner, (gid_t)-1))
		error = -1;
	file_close(&fd);
	file_close(&folder);
	buf_free(&envelope);
	buf_free(&all);
	return error;
}

int main(int argc, char **argv)
{
	struct spool *s;
	struct stat st;
	int dir = -1, error = argc < 3 ? -1 : file_open(AT_FDCWD, argv[1], O_RDONLY | O_DIRECTORY, 0, &dir);
	unsigned long count = argc < 3 ? 0 : strtoul(argv[2], NULL, 10), places = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000, folders = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	error = error ? error : spool_open_to_look(dir, &s); /* porterd has made its folders */
	for (unsigned long i = 0; i < count && !error; i++)
		error = put_one(s, i, places ? places : 1, folders, argc > 5 ? argv[5] : NULL, argc > 6 ? strtol(argv[6], NULL, 10) : 0);
	if (error)
		return fprintf(stderr, "the spool can't be filled: %s\n", error == -1 ? "usage, or not root" : strerror(-error)), 1;
	for (int i = 0; i < 1024; i++) { /* the folders are the owner's like all else */
		char name[3] = { digits[i / 32], digits[i % 32], 0 };
		if (file_stat_at(s->folders[SPOOL_QUEUE], name, &st) == 0 && fchownat(s->folders[SPOOL_QUEUE], name, s->owner, (gid_t)-1, AT_SYMLINK_NOFOLLOW))
			return 1;
	}
	spool_close(s);
	return 0;
}
