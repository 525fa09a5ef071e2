/* Signing what the queue made: read by a worker, asked of the keeper, told to the job. */
#include "delivery/job_sign.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mail_body.h"
#include "base/mail_header.h"
#include "base/mem.h"
#include "delivery/sign.h"

enum { PIECE = 64 << 10, MAX_HEADER = 2 << 20, MAX_WORK = 16 << 20 };

struct job_signing {
	struct keeper *keeper;
	const struct signers *keys;
	int fd;
	uint64_t offset, length;
	struct buf header;
	struct mail_digest digest;
	int error;
	bool reading, freed;
	struct signing *signing;
	job_signing_done done;
	void *arg;
};

static void release(struct job_signing *s)
{
	signing_free(s->signing);
	file_close(&s->fd);
	buf_free(&s->header);
	mem_free(s);
}

void job_signing_free(struct job_signing *s)
{
	if (!s)
		return;
	s->freed = true;
	if (!s->reading)
		release(s);
}

/* -- in the worker ----------------------------------------------------------------------------------------------------------------- */

static ssize_t read_piece(const struct job_signing *s, uint64_t at, char *to)
{
	uint64_t left = s->length - at;
	ssize_t n;
	do
		n = pread(s->fd, to, left < PIECE ? (size_t)left : PIECE, (off_t)(s->offset + at));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n ? n : -EIO; /* shorter than it was said to be */
}

/* The header section is what stands before the first empty line; what follows is the body. */
static void take_piece(struct job_signing *s, struct mail_body *body, bool *in_body, struct slice piece)
{
	if (*in_body) {
		mail_body_add(body, piece);
		return;
	}
	buf_add(&s->header, piece);
	size_t end = mail_header_end(buf_slice(&s->header));
	if (end == 0)
		return;
	*in_body = true;
	mail_body_add(body, slice_skip(buf_slice(&s->header), end));
	buf_truncate(&s->header, end);
}

static void read_work(void *arg)
{
	struct job_signing *s = arg;
	struct mail_body *body = mail_body_new();
	int number = mail_body_want(body, CANON_RELAXED, false, MAIL_BODY_WHOLE);
	char *piece = mem_new(PIECE);
	bool in_body = false;
	for (uint64_t at = 0; at < s->length && !s->error;) {
		ssize_t n = read_piece(s, at, piece);
		s->error = n < 0 ? (int)n : 0;
		if (n > 0)
			take_piece(s, body, &in_body, slice(piece, (size_t)n));
		at += n > 0 ? (uint64_t)n : 0;
	}
	mail_body_end(body);
	mail_body_digest(body, number, &s->digest);
	mail_body_free(body);
	mem_free(piece);
	if (!s->error && buf_full(&s->header))
		s->error = -EMSGSIZE;
}

/* -- in the loop ----------------------------------------------------------------------------------------------------------------------- */

static void on_signed(void *arg, int error, struct slice fields)
{
	struct job_signing *s = arg;
	s->done(s->arg, error, fields); /* s may be gone */
}

static void read_done(void *arg)
{
	struct job_signing *s = arg;
	struct arena mem = ARENA_INIT(MAX_WORK);
	struct mail_header h;
	s->reading = false;
	if (s->freed) {
		release(s);
		return;
	}
	if (!s->error)
		s->error = mail_header_parse(buf_slice(&s->header), SIZE_MAX, &mem, &h);
	if (!s->error)
		s->signing = signing_dkim(s->keeper, s->keys, &h, &s->digest, clock_wall_s(), on_signed, s);
	arena_free(&mem);
	if (s->error)
		s->done(s->arg, s->error, SLICE(""));
}

struct job_signing *job_signing_new(struct keeper *k, struct worker *w, const struct signers *keys, int fd, uint64_t offset, uint64_t length,
                                    job_signing_done done, void *arg)
{
	struct job_signing *s = MEM_NEW(struct job_signing);
	*s = (struct job_signing){ .keeper = k, .keys = keys, .fd = -1, .offset = offset, .length = length, .reading = true, .done = done, .arg = arg };
	buf_init(&s->header, MAX_HEADER);
	s->error = file_dup(fd, &s->fd);
	worker_add(w, read_work, read_done, s);
	return s;
}
