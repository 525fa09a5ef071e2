#ifndef MAPS_PASSWORD_MODELS_H
#define MAPS_PASSWORD_MODELS_H
#include <stdint.h>
#include "maps/map.h"

/* What a login that doesn't exist is checked against, so that neither its time nor its answer tells it from those that do: a hash that somebody has. Logins that
 * were imported may have bcrypt, yescrypt or SHA-512-crypt hashes, each with its own cost; a model stands for all of one kind and cost, and is chosen as often as
 * these are found among the first logins of the map. */
enum { PASSWORD_MODELS = 16, PASSWORD_MODELS_LOOK = 10000 };

struct password_models {
	struct password_model {
		char *hash;      /* NULL: a login with a SCRAM verifier alone */
		uint64_t logins;
	} of[PASSWORD_MODELS];
	size_t count;
	uint64_t logins;         /* of all models */
};

/* Reads the first PASSWORD_MODELS_LOOK lines of credentials; what is past PASSWORD_MODELS kinds has no model. The caller frees what was there before. */
void password_models_read(struct password_models *m, struct map_set *secrets);
void password_models_free(struct password_models *m);

/* The model for a number that always is the same for one login, and that nobody outside can foretell. NULL: the kind that `user passwd` makes. A view as long as m. */
const char *password_models_pick(const struct password_models *m, uint64_t number);
#endif
