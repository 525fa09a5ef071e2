/* libFuzzer: the file sync, each line of it, with little memory and with much. */
#include "base/setting.h"
#include "ctl/sync_source.h"
#include "maps/map_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints wrong = { BUF_INIT(1 << 16), 0 };
	struct map_text *t = NULL;
	if (size < 1)
		return 0;
	if (map_text_read(slice((const char *)data + 1, size - 1), SLICE("sync"), sync_source_key, NULL, false, &wrong, &t)) {
		for (size_t i = 0; i < map_text_count(t); i++) {
			struct arena mem = ARENA_INIT(data[0] & 1 ? 128 : 1 << 20);
			struct sync_source s = { .name = map_text_at(t, i)->key };
			if (!sync_source_read(map_text_at(t, i)->value, &mem, &s) && (s.is_ldap ? !s.ldap.url || !s.ldap.base : !s.argv[0] || s.argv[SYNC_MAX_ARGV]))
				__builtin_trap();
			arena_free(&mem);
		}
		map_text_free(t);
	}
	complaint_free(&wrong);
	return 0;
}
