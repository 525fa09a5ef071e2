/* libFuzzer: maps made of the input, an address of it, the resolver: it always ends, with a status that is whole. Sections are separated by a form feed:
 * address, domains, recipients, aliases, routes. */
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mail_path.h"
#include "maps/map.h"
#include "maps/resolve.h"

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
	static const char *const names[] = { "domains", "recipients", "aliases", "routes" };
	struct slice rest = slice((const char *)data, size), address = slice_cut(rest, '\f', &rest);
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct arena mem = ARENA_INIT(16 << 20);
	struct map_set *set = NULL;
	struct mail_path path;
	struct resolved r;
	const char *why;
	if (!folder[0]) {
		snprintf(folder, sizeof folder, "/dev/shm/porter-fuzz-%d", (int)getpid());
		mkdir(folder, 0700);
	}
	if (slice_find_slice(slice((const char *)data, size), SLICE(":include:")) < size)
		return 0;                      /* of this machine's files */
	for (size_t i = 0; i < 4; i++)
		put(names[i], slice_cut(rest, '\f', &rest));
	if (map_set_read(slice_of(folder), &wrong, &set) == 0) {
		if (mail_path_parse_address(address, &mem, &path, &why) == 0) {
			resolve_path(set, &path, true, &mem, &r);
			if (r.status.code / 100 != (r.status.fate == MAIL_OK ? 2 : r.status.fate == MAIL_LATER ? 4 : 5) || (r.status.fate != MAIL_OK && r.count) || r.count > RESOLVE_MAX_LEAVES)
				__builtin_trap();
		}
		map_set_close(set);
	}
	arena_free(&mem);
	complaint_free(&wrong);
	return 0;
}
