/* Preloaded: the wall clock stands as many seconds off as the file TURN_FILE says (a signed 64-bit number). The monotonic clock goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *seconds;
static int (*original)(clockid_t which, struct timespec *out);

__attribute__((constructor)) static void load(void)
{
	const char *path = getenv("TURN_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *seconds, PROT_READ, MAP_SHARED, fd, 0);
	original = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	seconds = map == MAP_FAILED ? NULL : map;
	if (fd >= 0)
		close(fd);
}

int clock_gettime(clockid_t which, struct timespec *out)
{
	int result = original(which, out);
	if (result == 0 && which == CLOCK_REALTIME && seconds)
		out->tv_sec += *seconds;
	return result;
}
