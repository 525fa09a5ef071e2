#ifndef MAPS_MAP_H
#define MAPS_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/answer.h"
#include "base/arena.h"
#include "base/net.h"
#include "base/setting.h"
#include "base/slice.h"

/* Maps: who is who. Text is the truth (DIR/etc/NAME, one entry a line: key, blanks, value); a generation is its compiled form, an immutable folder that every
 * process reads through mapped pages. Both are looked into through a map_set, and no caller can tell which it has.
 *
 * A look-up is a plain call: it never waits and never outlives its callback, so a process that switches generations holds no two sets. */
enum map_id { MAP_DOMAINS, MAP_RECIPIENTS, MAP_ALIASES, MAP_ROUTES, MAP_ACCESS, MAP_SENDERS, MAP_CLIENTS, MAP_HEADER, MAP_HOSTERS,
	MAP_SIGNERS, MAP_SEALERS, MAP_CREDENTIALS };
enum { MAP_FIXED = MAP_CREDENTIALS + 1, MAP_MAX = 64, MAP_MAX_NAME = 64, MAP_MAX_KEY = 1024, MAP_MAX_VALUE = 1 << 20 };

/* Facts about the fixed maps: name, whether `compile` keeps it in the secrets' folder, one sentence for porter-maps(5). */
struct map_kind {
	struct slice name;
	bool secret;
	const char *sentence;
};
extern const struct map_kind map_kinds[MAP_FIXED];

struct map_entry {
	struct slice key;       /* canonical, see maps/map_key.h */
	struct slice value;     /* as written, continuation lines joined, comments gone */
	uint32_t line;          /* in the text map; 0 for what the compiler noted */
};

struct map_set;

/* A generation: directory is the folder of generations ("/" in a chroot into it), secrets the folder of secret maps or "". Only files whose size stands in the
 * manifest are opened; digests are the verifier's (maps/manifest.h). 0, or -errno and *why (in mem). */
int map_set_open(const char *directory, const char *secrets, uint64_t generation, struct arena *mem, struct map_set **out, const char **why);

/* The text as it stands in a configuration directory. All errors of all maps are collected; *out is set only without any. */
int map_set_read(struct slice directory, struct complaints *wrong, struct map_set **out);

void map_set_close(struct map_set *s); /* NULL is fine */
uint64_t map_set_generation(const struct map_set *s); /* 0: text */

/* A map beside the fixed ones that `recipients=NAME` names, or a fixed one by its name. False: there is none. */
bool map_named(const struct map_set *s, struct slice name, unsigned *id);
size_t map_count_maps(const struct map_set *s);
struct slice map_name(const struct map_set *s, unsigned id);

/* Exact look-up of a canonical key. FOUND: *out's strings live in mem. UNSURE: damaged, or mem is full. */
enum answer map_find(struct map_set *s, unsigned id, struct slice key, struct arena *mem, struct map_entry *out);

/* The longest network that holds ip, of keys `kind` + network ("client:192.0.2.0/24"). */
enum answer map_find_ip(struct map_set *s, unsigned id, struct slice kind, const struct net_ip *ip, struct arena *mem, struct map_entry *out);

/* Every entry in the order of keys, until each says false. Views are valid during the call. UNSURE when damage ended it early, else FOUND. */
enum answer map_each(struct map_set *s, unsigned id, bool (*each)(void *arg, const struct map_entry *e), void *arg);
size_t map_size(const struct map_set *s, unsigned id); /* entries */

/* The next item of a value: up to `separator` (',' with blanks around it, or ' ' for a run of blanks) outside of quotes. False at the end. */
bool map_item(struct slice *value, char separator, struct slice *item);
#endif
