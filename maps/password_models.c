/* Kinds and costs of password hashes, as the map credentials has them. */
#include "maps/password_models.h"

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "maps/credentials.h"

struct reading {
	struct password_models *models;
	struct arena mem;
	size_t looked;
};

/* All of a hash that decides what it costs: "$argon2id$v=19$m=65536,t=3,p=1" of "$argon2id$v=19$m=65536,t=3,p=1$SALT$HASH", "$2b$12" of bcrypt's "$2b$12$SALTANDHASH". */
static struct slice cost_of(struct slice hash)
{
	struct slice s = slice_head(hash, slice_rfind(hash, '$'));
	return slice_starts(hash, SLICE("$2")) ? s : slice_head(s, slice_rfind(s, '$'));
}

static struct password_model *find(struct password_models *m, struct slice hash)
{
	for (size_t i = 0; i < m->count; i++)
		if (hash.n ? m->of[i].hash && slice_eq(cost_of(slice_of(m->of[i].hash)), cost_of(hash)) : !m->of[i].hash)
			return &m->of[i];
	if (m->count == PASSWORD_MODELS)
		return NULL;
	struct password_model *new = &m->of[m->count++];
	*new = (struct password_model){ .hash = hash.n ? mem_copy(hash.p, hash.n) : NULL };
	return new;
}

static bool look(void *arg, const struct map_entry *e)
{
	struct reading *r = arg;
	struct credentials c;
	if (!credentials_parse(e->value, &r->mem, &c) && (c.hash.n || c.scram_sha256.iterations)) {
		struct password_model *model = find(r->models, c.hash);
		if (model)
			model->logins++, r->models->logins++;
	}
	arena_reset(&r->mem);
	return ++r->looked < PASSWORD_MODELS_LOOK;
}

void password_models_read(struct password_models *m, struct map_set *secrets)
{
	struct reading r = { .models = m, .mem = ARENA_INIT(1 << 20) };
	*m = (struct password_models){ .count = 0 };
	map_each(secrets, MAP_CREDENTIALS, look, &r);
	arena_free(&r.mem);
}

void password_models_free(struct password_models *m)
{
	while (m->count)
		mem_free(m->of[--m->count].hash);
	m->logins = 0;
}

const char *password_models_pick(const struct password_models *m, uint64_t number)
{
	uint64_t at = m->logins ? number % m->logins : 0;
	for (size_t i = 0; i < m->count; i++)
		if (at < m->of[i].logins)
			return m->of[i].hash;
		else
			at -= m->of[i].logins;
	return NULL;
}
