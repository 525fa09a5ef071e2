#ifndef TESTS_UNIT_MAPS_KIT_H
#define TESTS_UNIT_MAPS_KIT_H
/* A configuration directory for tests of maps: text in, a set out. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "maps/map.h"

static char kit_top[64];

__attribute__((unused)) static void kit_begin(void)
{
	char path[200];
	snprintf(kit_top, sizeof kit_top, "/tmp/porter-maps-XXXXXX");
	assert_non_null(mkdtemp(kit_top));
	snprintf(path, sizeof path, "%s/etc", kit_top);
	assert_int_equal(mkdir(path, 0755), 0);
}

__attribute__((unused)) static void kit_end(void)
{
	char command[200];
	snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", kit_top, kit_top);
	assert_int_equal(system(command), 0);
}

__attribute__((unused)) static void kit_put(const char *name, struct slice text)
{
	char path[200];
	snprintf(path, sizeof path, "%s/etc/%s", kit_top, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text.p ? text.p : "", 1, text.n, f), text.n);
	assert_int_equal(fclose(f), 0);
}

/* NULL, and the complaints in *wrong, if the text is refused. */
__attribute__((unused)) static struct map_set *kit_read(struct complaints *wrong)
{
	char etc[200];
	struct map_set *set = NULL;
	snprintf(etc, sizeof etc, "%s/etc", kit_top);
	return map_set_read(slice_of(etc), wrong, &set) == 0 ? set : NULL;
}
#endif
