/* Fetching an MTA-STS policy, in a process of its own that lives for one fetch. The same process keeps policies on disk, and tells all that it kept when the
 * delivery process starts. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/field.h"
#include "base/file.h"
#include "base/ipc.h"
#include "base/mem.h"
#include "base/scan.h"
#include "delivery/https.h"
#include "delivery/sts.h"
#include "delivery/sts_house.h"

enum { MAX_KEPT = STS_MAX_DOMAINS, MAX_FILE = STS_MAX_TEXT + 1024 };

static int tell(struct slice domain, struct slice id, enum https_end end, struct slice text, int64_t fetched_s)
{
	struct buf b = BUF_INIT(STS_MAX_TEXT + 2048);
	field_add(&b, STS_TAG_DOMAIN, domain);
	field_add(&b, STS_TAG_ID, id);
	field_add(&b, STS_TAG_TEXT, text);
	if (end != HTTPS_GOOD)
		field_add_uint(&b, STS_TAG_END, end);
	field_add_uint(&b, STS_TAG_FETCHED, (uint64_t)fetched_s);
	int error = ipc_send_blocking(STDIN_FILENO, STS_FETCHED, 1, buf_slice(&b), -1);
	buf_free(&b);
	return error;
}

/* A domain that may be a file's name and a URL's host. */
static bool is_domain(struct slice s)
{
	bool good = s.n > 0 && s.n <= 253 && s.p[0] != '.';
	for (size_t i = 0; good && i < s.n; i++)
		good = islower((unsigned char)s.p[i]) || isdigit((unsigned char)s.p[i]) || s.p[i] == '-' || s.p[i] == '.' || s.p[i] == '_';
	return good;
}

/* -- on disk: "sts1 FETCHED ID\n" and the policy's text ------------------------------------------------------------------------------------------ */

static void keep(int folder, const char *domain, struct slice id, struct slice text, int64_t fetched_s)
{
	char temporary[300];
	struct buf b = BUF_INIT(MAX_FILE);
	int fd, error;
	snprintf(temporary, sizeof temporary, ".%s.new", domain);
	buf_addf(&b, "sts1 %lld %.*s\n", (long long)fetched_s, SLICE_FMT(id));
	buf_add(&b, text);
	error = buf_full(&b) ? -EMSGSIZE : file_open(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &fd);
	if (!error) {
		error = file_write(fd, buf_slice(&b));
		file_close(&fd);
		error = error ? error : file_rename(folder, temporary, folder, domain);
	}
	if (error)
		fprintf(stderr, "keeping the policy of %s: %s\n", domain, strerror(-error));
	buf_free(&b);
}

/* What is over goes, or the folder would grow by each domain that was ever written to. */
static bool is_over(struct slice text, uint64_t fetched_s)
{
	struct sts_policy *p = MEM_NEW(struct sts_policy);
	struct arena mem = ARENA_INIT(STS_MAX_TEXT);
	bool over = !sts_parse(text, &mem, p) || fetched_s + p->max_age_s < (uint64_t)clock_wall_s();
	arena_free(&mem);
	mem_free(p);
	return over;
}

/* True: it is kept. */
static bool tell_kept(int folder, const char *name)
{
	struct buf b = BUF_INIT(MAX_FILE);
	uint64_t fetched;
	int fd;
	ssize_t n = 1;
	if (!is_domain(slice_of(name)) || file_open(folder, name, O_RDONLY | O_NOFOLLOW, 0, &fd))
		return false;
	while (n > 0) {
		char *room = buf_room(&b, 4096);
		n = room ? read(fd, room, 4096) : -1;
		if (n > 0)
			buf_used(&b, (size_t)n);
	}
	file_close(&fd);
	struct slice text = buf_slice(&b), line = slice_cut(text, '\n', &text);
	bool good = n == 0 && scan_word(&line, SLICE("sts1 ")) && scan_uint(&line, INT64_MAX / 2, &fetched) && scan_byte(&line, ' '), over = good && is_over(text, fetched);
	if (over)
		file_unlink(folder, name);
	else if (good)
		tell(slice_of(name), line, HTTPS_GOOD, text, (int64_t)fetched);
	buf_free(&b);
	return good && !over;
}

static int tell_all(int folder)
{
	DIR *d = fdopendir(folder);
	struct dirent *e;
	size_t told = 0;
	while (d && told < MAX_KEPT && (e = readdir(d)))
		told += tell_kept(dirfd(d), e->d_name);
	if (d)
		closedir(d);
	return 0;
}

/* RFC 8461, 3.3. connect_to: "HOST:PORT" in place of mta-sts.DOMAIN:443, or "". */
static enum https_end fetch(const char *domain, const char *connect_to, const char *roots, struct buf *out)
{
	const struct https h = { connect_to, roots };
	char url[400];
	snprintf(url, sizeof url, "https://mta-sts.%s/.well-known/mta-sts.txt", domain);
	return https_get_text(&h, url, out);
}

static bool is_policy(struct slice text)
{
	struct sts_policy *p = MEM_NEW(struct sts_policy);
	struct arena mem = ARENA_INIT(STS_MAX_TEXT);
	bool good = sts_parse(text, &mem, p);
	arena_free(&mem);
	mem_free(p);
	return good;
}

static int fetch_and_tell(int folder, char **argv)
{
	struct buf text = BUF_INIT(STS_MAX_TEXT);
	struct slice domain = slice_of(argv[3]), id = slice_of(argv[4]);
	int64_t now = clock_wall_s();
	enum https_end end = is_domain(domain) ? fetch(argv[3], argv[1], argv[2], &text) : HTTPS_FAILED;
	if (end == HTTPS_GOOD && is_policy(buf_slice(&text)))
		keep(folder, argv[3], id, buf_slice(&text), now);
	int code = tell(domain, id, end, end == HTTPS_GOOD ? buf_slice(&text) : SLICE_NONE, now) ? 75 : 0;
	buf_free(&text);
	return code;
}

int sts_main(int argc, char **argv)
{
	int folder, error = argc == 1 || argc == 5 ? file_open(AT_FDCWD, argv[0], O_RDONLY | O_DIRECTORY, 0, &folder) : -EINVAL;
	if (error)
		return 75;
	if (argc == 1)
		return tell_all(folder);
	int code = fetch_and_tell(folder, argv);
	file_close(&folder);
	return code;
}
