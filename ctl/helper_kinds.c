/* The kinds of short-lived processes. */
#include "ctl/helper_kinds.h"

#include "delivery/system_parcel.h"

static int system_main(int argc, char **argv)
{
	(void)argc, (void)argv;
	return system_user_main();
}

const struct helper_kind helper_kinds[] = {
	{ "system", "mailbox", system_main, true, NULL, 600, 0 },
	{ "program", "mailbox", NULL, true, NULL, 240, UINT64_C(1) << 30 },
};
const size_t helper_kind_count = sizeof helper_kinds / sizeof *helper_kinds;
