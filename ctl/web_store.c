/* Records in memory by id, and a worker that writes them one after the other, each in a transaction that is synced. */
#include "ctl/web_store.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum { MAX_RECORD = 16 << 10, LOG_MAX = 1 << 20 };

struct row {
	char id[WEB_ID + 1];
	char *record;
	size_t n;
	int64_t asked_s;
	bool over;
};

struct web_store {
	struct loop *loop;
	struct worker *worker;
	DB_ENV *env;
	DB *db;
	struct row *rows;
	size_t count;
};

struct job {
	struct web_store *store;
	char id[WEB_ID + 1];
	char *record;               /* NULL: remove */
	size_t n;
	int error;
	void (*done)(void *arg, int error);
	void *arg;
};

/* The disk ---------------------------------------------------------------------------------------------------------------------------- */

static void tell(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env, (void)prefix;
	log_event(LOG_DEBUG, "checks-db", LOG_CSTR("error", message), LOG_END);
}

static int open_once(struct web_store *s, const char *directory)
{
	if (db_env_create(&s->env, 0) != 0)
		return -ENOMEM;
	s->env->set_errcall(s->env, tell);
	s->env->mutex_set_tas_spins(s->env, 1);   /* else it asks /proc for processors, which a chroot does not have */
	s->env->set_tmp_dir(s->env, directory);
	s->env->set_lg_max(s->env, LOG_MAX);
	s->env->log_set_config(s->env, DB_LOG_AUTO_REMOVE, 1);
	int result = s->env->open(s->env, directory, DB_CREATE | DB_PRIVATE | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_LOCK | DB_RECOVER | DB_THREAD, 0600);
	if (result == 0)
		result = db_create(&s->db, s->env, 0);
	if (result == 0)
		result = s->db->open(s->db, NULL, "checks.db", NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0600);
	if (result == 0)
		return 0;
	if (s->db)
		s->db->close(s->db, DB_NOSYNC);
	s->env->close(s->env, 0);
	s->db = NULL;
	s->env = NULL;
	return result > 0 ? -result : -EBADMSG;
}

static void remove_all(const char *directory)
{
	DIR *d = opendir(directory);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
		if (strcmp(e->d_name, "checks.db") == 0 || strncmp(e->d_name, "log.", 4) == 0 || strncmp(e->d_name, "__db.", 5) == 0)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static void write_now(void *arg)
{
	struct job *j = arg;
	DBT key = { .data = j->id, .size = WEB_ID }, value = { .data = j->record, .size = (u_int32_t)j->n };
	DB *db = j->store->db;
	j->error = j->record ? db->put(db, NULL, &key, &value, DB_AUTO_COMMIT) : db->del(db, NULL, &key, DB_AUTO_COMMIT);
	if (!j->error)
		j->store->env->txn_checkpoint(j->store->env, 512, 0, 0);
}

static void written(void *arg)
{
	struct job *j = arg;
	if (j->error && j->error != DB_NOTFOUND)
		log_event(LOG_ERROR, "check-not-kept", LOG_CSTR("id", j->id), LOG_CSTR("error", db_strerror(j->error)), LOG_END);
	if (j->done)
		j->done(j->arg, j->error);
	mem_free(j->record);
	mem_free(j);
}

static void write_later(struct web_store *s, const char *id, const char *record, size_t n, void (*done)(void *arg, int error), void *arg)
{
	struct job *j = MEM_NEW(struct job);
	j->store = s;
	memcpy(j->id, id, sizeof j->id);
	j->record = record ? mem_copy(record, n) : NULL;
	j->n = n;
	j->done = done;
	j->arg = arg;
	worker_add(s->worker, write_now, written, j);
}

/* Memory ------------------------------------------------------------------------------------------------------------------------------ */

static struct row *find(struct web_store *s, struct slice id)
{
	for (size_t i = 0; i < s->count; i++)
		if (id.n == WEB_ID && memcmp(s->rows[i].id, id.p, WEB_ID) == 0)
			return &s->rows[i];
	return NULL;
}

static bool is_over(const struct web_record *r)
{
	return r->state == WEB_FINISHED || r->state == WEB_FAILED;
}

static void set_row(struct row *row, const struct web_record *r, struct slice encoded)
{
	mem_free(row->record);
	memcpy(row->id, r->id, sizeof row->id);
	row->record = mem_copy(encoded.p, encoded.n);
	row->n = encoded.n;
	row->asked_s = r->asked_s;
	row->over = is_over(r);
}

/* The oldest that is over makes room. */
static struct row *make_room(struct web_store *s)
{
	struct row *oldest = NULL;
	if (s->count < WEB_STORE_MAX)
		return &s->rows[s->count++];
	for (size_t i = 0; i < s->count; i++)
		if (s->rows[i].over && (!oldest || s->rows[i].asked_s < oldest->asked_s))
			oldest = &s->rows[i];
	if (oldest)
		write_later(s, oldest->id, NULL, 0, NULL, NULL);
	return oldest;
}

int web_store_put(struct web_store *s, const struct web_record *r, void (*done)(void *arg, int error), void *arg)
{
	struct buf encoded = BUF_INIT(MAX_RECORD);
	int error = web_record_put(&encoded, r);
	struct row *row = error ? NULL : find(s, slice_of(r->id));
	if (!error && !row)
		row = make_room(s);
	if (!error && !row)
		error = -ENOSPC;
	if (!error) {
		set_row(row, r, buf_slice(&encoded));
		write_later(s, r->id, encoded.p, encoded.n, done, arg);
	}
	buf_free(&encoded);
	return error;
}

bool web_store_get(struct web_store *s, struct slice id, struct web_record *out)
{
	const struct row *row = find(s, id);
	return row && web_record_get(slice(row->record, row->n), out) == 0;
}

void web_store_each(struct web_store *s, bool (*each)(void *arg, const struct web_record *r), void *arg)
{
	struct web_record r;
	for (size_t i = 0; i < s->count; i++)
		if (web_record_get(slice(s->rows[i].record, s->rows[i].n), &r) == 0 && !each(arg, &r))
			return;
}

static void load(struct web_store *s)
{
	DBC *cursor;
	DBT key = { .flags = DB_DBT_MALLOC }, value = { .flags = DB_DBT_MALLOC };
	if (s->db->cursor(s->db, NULL, &cursor, 0) != 0)
		return;
	while (s->count < WEB_STORE_MAX && cursor->get(cursor, &key, &value, DB_NEXT) == 0) {
		struct web_record r;
		struct slice encoded = slice(value.data, value.size);
		if (web_record_get(encoded, &r) == 0)
			set_row(&s->rows[s->count++], &r, encoded);
		else
			log_event(LOG_WARN, "check-record-damaged", LOG_STR("id", slice(key.data, key.size)), LOG_END);
		free(key.data);
		free(value.data);
	}
	cursor->close(cursor);
}

int web_store_open(struct loop *l, const char *directory, struct web_store **out)
{
	struct web_store *s = MEM_NEW(struct web_store);
	s->loop = l;
	int error = open_once(s, directory);
	if (error) {
		log_event(LOG_ERROR, "checks-damaged", LOG_CSTR("directory", directory), LOG_ERRNO(error), LOG_END);
		remove_all(directory);
		error = open_once(s, directory);
	}
	if (error) {
		mem_free(s);
		return error;
	}
	s->rows = mem_new_array(WEB_STORE_MAX, sizeof *s->rows);
	load(s);
	s->worker = worker_new(l, 1, "checks");
	*out = s;
	return 0;
}

void web_store_close(struct web_store *s)
{
	if (!s)
		return;
	worker_free(s->worker);
	s->db->close(s->db, 0);
	s->env->close(s->env, 0);
	for (size_t i = 0; i < s->count; i++)
		mem_free(s->rows[i].record);
	mem_free(s->rows);
	mem_free(s);
}
