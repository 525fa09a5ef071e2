/* Telling one report, in a short-lived process: by mail (RFC 8460, 5.3), which it leaves in the queue's drop folder, or by HTTPS (5.4). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/inflate.h"
#include "base/ipc.h"
#include "base/mail_date.h"
#include "base/mail_dmarc_record.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unique.h"
#include "delivery/https.h"
#include "delivery/tls_report_house.h"
#include "queue/drop.h"

enum { MAX_JSON = 64 << 10, MAX_MAIL = 256 << 10, WORDS = 8, LINE = 57 };

struct report {
	const char *drop, *from, *host, *roots, *domain, *id, *first, *last;
	struct buf gz;
};

static void add_head(const struct report *r, struct slice to, const char *boundary, struct buf *out)
{
	buf_addf(out, "From: <%s>\nTo: <%.*s>\nDate: ", r->from, SLICE_FMT(to));
	mail_date_print(out, clock_wall_s(), 0);
	buf_addf(out, "\nMessage-ID: <%s>\nSubject: Report Domain: %s Submitter: %s Report-ID: <%s>\nTLS-Report-Domain: %s\nTLS-Report-Submitter: %s\n"
	              "TLS-Required: No\nMIME-Version: 1.0\nAuto-Submitted: auto-generated\nContent-Type: multipart/report; report-type=\"tlsrpt\";\n\tboundary=\"%s\"\n\n",
	         r->id, r->domain, r->host, r->id, r->domain, r->host, boundary);
}

/* 5.1: the file's name tells what it is. */
static void add_parts(const struct report *r, const char *boundary, struct buf *out)
{
	struct slice rest = buf_slice(&r->gz);
	buf_addf(out, "--%s\nContent-Type: text/plain; charset=us-ascii\n\nThis is a report about TLS with the mail hosts of %s (RFC 8460), from %s.\n\n"
	              "--%s\nContent-Type: application/tlsrpt+gzip\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment;\n"
	              "\tfilename=\"%s!%s!%s!%s.json.gz\"\n\n",
	         boundary, r->domain, r->host, boundary, r->host, r->domain, r->first, r->last);
	while (rest.n) {
		text_add_base64(out, slice_head(rest, LINE));
		buf_add_byte(out, '\n');
		rest = slice_skip(rest, LINE);
	}
	buf_addf(out, "--%s--\n", boundary);
}

static int leave(const char *folder, struct slice mail)
{
	struct unique name = unique_new();
	char temporary[UNIQUE_LENGTH + 8];
	int dir, fd, error = file_open(AT_FDCWD, folder, O_PATH | O_DIRECTORY, 0, &dir);
	if (error)
		return error;
	snprintf(temporary, sizeof temporary, "tmp.%s", name.text);
	error = file_open(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, &fd);
	if (!error) {
		error = file_write(fd, mail);
		error = error ? error : file_sync(fd);
		file_close(&fd);
		error = error ? error : file_rename(dir, temporary, dir, name.text);
	}
	file_close(&dir);
	return error;
}

static int mail_to(const struct report *r, struct slice to)
{
	struct unique mark = unique_new();
	struct buf mail = BUF_INIT(MAX_MAIL);
	struct drop_recipient recipient = { to, 0 };
	struct drop head = { .reverse_path = slice_of(r->from), .recipients = &recipient, .recipient_count = 1 };
	int error = drop_put(&mail, &head);
	add_head(r, to, mark.text, &mail);
	add_parts(r, mark.text, &mail);
	error = error ? error : buf_full(&mail) ? -EMSGSIZE : leave(r->drop, buf_slice(&mail));
	if (error)
		fprintf(stderr, "a TLS report for %s: %s\n", r->domain, strerror(-error));
	buf_free(&mail);
	return error;
}

/* An address that needs it is percent-encoded (RFC 6068); "?subject=" and the like is not ours to follow. */
static int tell(const struct report *r, const char *place)
{
	struct slice s = slice_of(place);
	struct arena mem = ARENA_INIT(4096);
	const struct https h = { "", r->roots };
	if (!slice_starts_nocase(s, SLICE("mailto:")))
		return https_post(&h, place, "application/tlsrpt+gzip", buf_slice(&r->gz)) ? 0 : -EIO;
	struct slice to = dmarc_uri_address(s, &mem);
	int error = slice_find(to, '@') < to.n && slice_find(to, '<') == to.n && slice_find(to, '>') == to.n ? mail_to(r, to) : -EINVAL;
	arena_free(&mem);
	return error;
}

int tls_report_main(int argc, char **argv)
{
	struct buf payload = BUF_INIT(IPC_MAX_PAYLOAD);
	struct ipc_message m = { .fd = -1 };
	if (argc != WORDS + 1 || ipc_receive_blocking(STDIN_FILENO, 10000, &m, &payload) || m.payload.n > MAX_JSON)
		return TLS_REPORT_AGAIN;
	struct report r = { argv[0], argv[1], argv[2], argv[3], argv[4], argv[5], argv[6], argv[7], BUF_INIT(MAX_JSON * 2) };
	int error = deflate_gzip(m.payload, &r.gz) == 0 ? tell(&r, argv[WORDS]) : -ENOMEM;
	buf_free(&r.gz);
	buf_free(&payload);
	return !error ? 0 : error == -EINVAL ? TLS_REPORT_NOWHERE : TLS_REPORT_AGAIN;
}
