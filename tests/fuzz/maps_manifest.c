/* libFuzzer: the manifest of a generation. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maps/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char folder[64], path[100];
	struct arena mem = ARENA_INIT(1 << 20);
	static struct manifest m;
	if (!folder[0]) {
		snprintf(folder, sizeof folder, "/dev/shm/porter-fuzz-%d", (int)getpid());
		snprintf(path, sizeof path, "%s/1", folder);
		mkdir(folder, 0700);
		mkdir(path, 0700);
		snprintf(path, sizeof path, "%s/1/manifest", folder);
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;
	close(fd);
	if (manifest_read(folder, 1, &mem, &m) == 0 && m.count > MANIFEST_MAX_FILES)
		__builtin_trap();
	arena_free(&mem);
	return 0;
}
