/* From the message to the line of `signers`. */
#include "queue/job_sign.h"

#include <unistd.h>

#include "base/buf.h"
#include "base/mail_author.h"
#include "base/mail_header.h"
#include "maps/signers.h"

enum { MAX_HEADER = 1 << 20, MAX_KEYS = 1024, MAX_WORK = 8 << 20 };

void job_sign_author(int fd, uint64_t offset, uint64_t length, struct arena *mem, struct slice *domain)
{
	struct buf head = BUF_INIT(MAX_HEADER);
	struct arena work = ARENA_INIT(MAX_WORK);
	struct mail_header h;
	struct slice author;
	size_t most = length < MAX_HEADER ? (size_t)length : MAX_HEADER;
	ssize_t n = most ? pread(fd, buf_room(&head, most), most, (off_t)offset) : 0;
	*domain = SLICE("");
	buf_used(&head, n > 0 ? (size_t)n : 0);
	size_t end = mail_header_end(buf_slice(&head));
	struct slice section = end ? slice_head(buf_slice(&head), end) : buf_slice(&head);
	if (mail_header_parse(section, SIZE_MAX, &work, &h) == 0 && mail_author_written(&h, &work, &author) == 0)
		*domain = arena_copy(mem, author);
	arena_free(&work);
	buf_free(&head);
}

enum answer job_sign_keys(struct map_set *maps, struct slice author, struct arena *mem, struct job *j)
{
	struct signers keys;
	struct buf text = BUF_INIT(MAX_KEYS);
	if (!author.n)
		return ABSENT;
	enum answer a = maps ? signers_find(maps, author, mem, &keys) : UNSURE;
	if (a != FOUND)
		return a;
	for (size_t i = 0; i < keys.count; i++)
		buf_addf(&text, "%s%.*s %s", i ? ", " : "", SLICE_FMT(keys.list[i].selector), keys.list[i].ed25519 ? "ed25519" : "rsa");
	j->sign_domain = keys.domain;
	j->sign_keys = arena_copy(mem, buf_slice(&text));
	buf_free(&text);
	return FOUND;
}
