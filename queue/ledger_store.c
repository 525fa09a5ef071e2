/* Berkeley DB for the ledger. */
#include "queue/ledger_store.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

enum { CACHE = 4 << 20, LOG_MAX = 4 << 20, CHECKPOINT_KB = 2048, MUTEXES = 200, MAX_MUTEXES = 40000, LOCK_SETS = 128 };

struct ledger_store {
	DB_ENV *env;
	DB *tables[LEDGER_TABLES];
	DB_TXN *txn;
	struct ledger_keys keys;
};

static const char *const names[LEDGER_TABLES] = { "outcome", "sent", "seen", "ask", "replied" };

static void on_error(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env, (void)prefix;
	log_event(LOG_DEBUG, "ledger-db", LOG_CSTR("error", message), LOG_END);
}

static int error_of(int result)
{
	return result == 0 ? 0 : result == DB_NOTFOUND ? -ENOENT : result == ENOSPC || result == EDQUOT ? -ENOSPC : -EIO;
}

static void close_all(struct ledger_store *s)
{
	if (s->txn)
		s->txn->abort(s->txn);
	s->txn = NULL;
	for (size_t i = 0; i < LEDGER_TABLES; i++) {
		if (s->tables[i])
			s->tables[i]->close(s->tables[i], 0);
		s->tables[i] = NULL;
	}
	if (s->env) {
		s->env->txn_checkpoint(s->env, 0, 0, 0);
		s->env->close(s->env, 0);
	}
	s->env = NULL;
}

static int open_table(struct ledger_store *s, size_t i)
{
	int result = db_create(&s->tables[i], s->env, 0);
	if (result)
		return result;
	result = s->tables[i]->open(s->tables[i], NULL, names[i], NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0600);
	if (result) {
		s->tables[i]->close(s->tables[i], DB_NOSYNC);
		s->tables[i] = NULL;
	}
	return result;
}

static int open_env(struct ledger_store *s, const char *folder)
{
	int result = db_env_create(&s->env, 0);
	if (result)
		return -ENOMEM;
	s->env->set_errcall(s->env, on_error);
	s->env->mutex_set_tas_spins(s->env, 1);
	/* One thread writes here: tables for twenty partitions of locks and 1,900 mutexes, as for any machine, would be 350 KiB of each queue process. More come as the cache fills. */
	s->env->mutex_set_init(s->env, MUTEXES);
	s->env->mutex_set_max(s->env, MAX_MUTEXES);
	s->env->set_lk_partitions(s->env, 1);
	s->env->set_lk_tablesize(s->env, LOCK_SETS);
	s->env->set_cachesize(s->env, 0, CACHE, 1);
	s->env->set_lg_max(s->env, LOG_MAX);
	s->env->log_set_config(s->env, DB_LOG_AUTO_REMOVE, 1);
	result = s->env->open(s->env, folder, DB_CREATE | DB_PRIVATE | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_LOCK | DB_RECOVER | DB_THREAD, 0600);
	for (size_t i = 0; result == 0 && i < LEDGER_TABLES; i++)
		result = open_table(s, i);
	if (result)
		close_all(s);
	return error_of(result);
}

void ledger_store_empty(const char *folder)
{
	DIR *d = opendir(folder);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		if (e->d_name[0] != '.' && strcmp(e->d_name, "key") != 0)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static int read_keys(const char *folder, struct ledger_keys *keys)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/key", folder);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		ssize_t n = read(fd, keys, sizeof *keys);
		close(fd);
		if (n == (ssize_t)sizeof *keys)
			return 0;
	}
	ledger_store_empty(folder);     /* nothing in it can be found by another key */
	crypto_random(keys, sizeof *keys);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int error = write(fd, keys, sizeof *keys) == (ssize_t)sizeof *keys && fsync(fd) == 0 ? 0 : -EIO;
	close(fd);
	return error;
}

int ledger_store_open(const char *folder, struct ledger_store **out, bool *anew)
{
	struct ledger_store *s = MEM_NEW(struct ledger_store);
	int error = mkdir(folder, 0700) < 0 && errno != EEXIST ? -errno : 0;
	*anew = false;
	error = error ? error : read_keys(folder, &s->keys);
	if (!error && open_env(s, folder)) {
		*anew = true;
		ledger_store_empty(folder);
		error = open_env(s, folder);
	}
	if (error) {
		mem_free(s);
		return error;
	}
	*out = s;
	return 0;
}

void ledger_store_close(struct ledger_store *s)
{
	if (!s)
		return;
	close_all(s);
	mem_wipe(&s->keys, sizeof s->keys);
	mem_free(s);
}

const struct ledger_keys *ledger_store_keys(const struct ledger_store *s)
{
	return &s->keys;
}

static void add_part(struct buf *b, struct slice s)
{
	unsigned char n[4] = { (unsigned char)(s.n >> 24), (unsigned char)(s.n >> 16), (unsigned char)(s.n >> 8), (unsigned char)s.n };
	buf_add(b, slice((const char *)n, sizeof n));
	buf_add(b, s);
}

void ledger_store_name(const struct ledger_store *s, unsigned char out[LEDGER_NAME], struct slice a, struct slice b, struct slice c)
{
	uint8_t digest[CRYPTO_SHA256];
	struct buf parts = BUF_INIT(64 + a.n + b.n + c.n);
	buf_add(&parts, slice((const char *)s->keys.secret, sizeof s->keys.secret));
	add_part(&parts, a);
	add_part(&parts, b);
	add_part(&parts, c);
	crypto_sha256(buf_slice(&parts), digest);
	buf_free(&parts);
	memcpy(out, digest, LEDGER_NAME);
}

/* Transactions ---------------------------------------------------------------------------------------------------------------------- */

int ledger_store_begin(struct ledger_store *s)
{
	return error_of(s->env->txn_begin(s->env, NULL, &s->txn, 0));
}

int ledger_store_end(struct ledger_store *s, bool durable)
{
	DB_TXN *txn = s->txn;
	s->txn = NULL;
	int error = error_of(txn->commit(txn, durable ? DB_TXN_SYNC : DB_TXN_WRITE_NOSYNC));
	if (!error)
		s->env->txn_checkpoint(s->env, CHECKPOINT_KB, 0, 0);
	return error;
}

void ledger_store_undo(struct ledger_store *s)
{
	if (s->txn)
		s->txn->abort(s->txn);
	s->txn = NULL;
}

static DBT dbt(struct slice s)
{
	return (DBT){ .data = (void *)(uintptr_t)s.p, .size = (u_int32_t)s.n };
}

int ledger_store_get(struct ledger_store *s, enum ledger_table t, struct slice key, char *value, size_t *n)
{
	DBT k = dbt(key), v = { .data = value, .ulen = LEDGER_MAX_VALUE, .flags = DB_DBT_USERMEM };
	int result = s->tables[t]->get(s->tables[t], s->txn, &k, &v, 0);
	*n = v.size;
	return error_of(result);
}

int ledger_store_put(struct ledger_store *s, enum ledger_table t, struct slice key, struct slice value)
{
	DBT k = dbt(key), v = dbt(value);
	return error_of(s->tables[t]->put(s->tables[t], s->txn, &k, &v, 0));
}

int ledger_store_remove(struct ledger_store *s, enum ledger_table t, struct slice key)
{
	DBT k = dbt(key);
	return error_of(s->tables[t]->del(s->tables[t], s->txn, &k, 0));
}

int ledger_store_walk(struct ledger_store *s, enum ledger_table t, struct slice from, const struct ledger_walk *w, char last[LEDGER_MAX_KEY], size_t *last_n)
{
	DBC *cursor;
	char key[LEDGER_MAX_KEY], value[LEDGER_MAX_VALUE];
	DBT k = { .data = key, .ulen = sizeof key, .size = (u_int32_t)from.n, .flags = DB_DBT_USERMEM }, v = { .data = value, .ulen = sizeof value, .flags = DB_DBT_USERMEM };
	int result = s->tables[t]->cursor(s->tables[t], s->txn, &cursor, 0);
	if (result)
		return error_of(result);
	memcpy(key, from.n ? from.p : "", from.n);
	bool go_on = true;
	size_t shown = 0;
	*last_n = 0;
	result = cursor->get(cursor, &k, &v, DB_SET_RANGE);
	for (; result == 0 && go_on; result = cursor->get(cursor, &k, &v, DB_NEXT)) {
		bool drop = false;
		if (shown++ == w->most) {
			memcpy(last, key, k.size);
			*last_n = k.size;
			break;
		}
		go_on = w->each(w->arg, slice(key, k.size), slice(value, v.size), &drop);
		if (drop && (result = cursor->del(cursor, 0)) != 0)
			break;
	}
	cursor->close(cursor);
	return result == DB_NOTFOUND ? 0 : error_of(result);
}

