/* libFuzzer: every kind of text map. The first byte names the kind; domains are read before, as the reader of keys looks there. */
#include <stdint.h>

#include "maps/kinds.h"
#include "maps/map_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct map_set *nothing;
	if (size < 1)
		return 0;
	if (!nothing) {
		struct complaints none = { BUF_INIT(1000), 0 };
		if (map_set_read(SLICE("/nonexistent"), &none, &nothing) != 0)
			return 0;
	}
	unsigned id = data[0] % (MAP_FIXED + 1);
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct kind_reading reading = { .set = nothing, .memo = ARENA_INIT(64 << 10) };
	struct arena mem = ARENA_INIT(8 << 20);
	struct map_text *t = NULL;
	if (map_text_read(slice((const char *)data + 1, size - 1), SLICE("fuzz"), kind_key(id), &reading, id == MAP_ALIASES, &wrong, &t)) {
		for (size_t i = 0; i < map_text_count(t); i++) {
			const struct map_entry *e = map_text_at(t, i);
			kind_check(id, e, &mem);
			if (map_text_find(t, e->key) == NULL)
				__builtin_trap();
			arena_reset(&mem);
		}
		map_text_free(t);
	}
	arena_free(&reading.memo);
	arena_free(&mem);
	complaint_free(&wrong);
	return 0;
}
