/* libFuzzer: a list file that an alias includes, which may include itself and another. Absolute names are left out: they are this machine's. */
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maps/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];

static void put(const char *name, struct slice text)
{
	char path[100];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	if (!f)
		return;
	fwrite(text.p ? text.p : "", 1, text.n, f);
	fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice((const char *)data, size), first = slice_cut(rest, '\f', &rest);
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct map_set *set = NULL;
	if (slice_find(slice((const char *)data, size), '/') < size)
		return 0;
	if (!folder[0]) {
		snprintf(folder, sizeof folder, "/dev/shm/porter-fuzz-%d", (int)getpid());
		mkdir(folder, 0700);
		put("domains", SLICE("x.test mailbox\n"));
		put("aliases", SLICE("all@x.test a@x.test, :include:one\n"));
	}
	put("one", first);
	put("two", rest);
	if (map_set_read(slice_of(folder), &wrong, &set) == 0)
		map_set_close(set);
	complaint_free(&wrong);
	return 0;
}
