/* libFuzzer: one record of a compiled map. */
#include <stdint.h>

#include "maps/map_bdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice record = slice((const char *)data, size), value;
	uint32_t line;
	if (map_bdb_read_record(record, &value, &line) && (value.p < record.p || value.p + value.n > record.p + record.n || value.n > MAP_MAX_VALUE))
		__builtin_trap();
	return 0;
}
