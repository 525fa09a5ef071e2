/* Berkeley DB, for maps. No environment on disk, no locks, no log: a file is immutable from its birth. */
#include "maps/map_bdb.h"

#include <db.h>
#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum { RECORD_VERSION = 1, RECORD_HEAD = 5, CACHE = 256 << 10, WRITE_CACHE = 16 << 20, BULK = 1 << 20, PAGE = 4096, DIRECT = 4 << 10 };

struct map_bdb_env {
	DB_ENV *env;
};

struct map_bdb {
	DB *db;
};

static int error_of(int result)
{
	if (result == 0)
		return 0;
	return result > 0 ? -result : -EBADMSG;
}

static void quiet(const DB_ENV *env, const char *prefix, const char *message)
{
	(void)env, (void)prefix, (void)message;      /* callers say what it means */
}

struct map_bdb_env *map_bdb_env_new(void)
{
	struct map_bdb_env *e = MEM_NEW(struct map_bdb_env);
	if (db_env_create(&e->env, 0) != 0) {
		mem_free(e);
		return NULL;
	}
	e->env->set_errcall(e->env, quiet);
	e->env->set_mp_mmapsize(e->env, (size_t)64 << 30);
	e->env->set_cachesize(e->env, 0, CACHE, 1);
	if (e->env->open(e->env, NULL, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0) != 0) {
		e->env->close(e->env, 0);
		mem_free(e);
		return NULL;
	}
	return e;
}

void map_bdb_env_free(struct map_bdb_env *e)
{
	if (!e)
		return;
	e->env->close(e->env, 0);
	mem_free(e);
}

int map_bdb_open(struct map_bdb_env *e, const char *path, struct map_bdb **out)
{
	struct map_bdb *m = MEM_NEW(struct map_bdb);
	int result = db_create(&m->db, e->env, 0);
	if (result == 0) {
		result = m->db->open(m->db, NULL, path, NULL, DB_BTREE, DB_RDONLY, 0);
		if (result != 0)
			m->db->close(m->db, 0);
	}
	if (result != 0) {
		mem_free(m);
		return result == ENOENT ? -ENOENT : -EBADMSG;
	}
	int swapped = 0;
	if (m->db->get_byteswapped(m->db, &swapped) != 0 || swapped) { /* of another machine: pages would be copied, not mapped */
		map_bdb_close(m);
		return -EBADMSG;
	}
	*out = m;
	return 0;
}

void map_bdb_close(struct map_bdb *m)
{
	if (!m)
		return;
	m->db->close(m->db, DB_NOSYNC);
	mem_free(m);
}

bool map_bdb_read_record(struct slice record, struct slice *value, uint32_t *line)
{
	const unsigned char *p = (const unsigned char *)record.p;
	if (record.n < RECORD_HEAD || record.n > MAP_MAX_VALUE + RECORD_HEAD || p[0] != RECORD_VERSION)
		return false;
	*line = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	*value = slice(record.p + RECORD_HEAD, record.n - RECORD_HEAD);
	return true;
}

static bool read_record(const DBT *data, struct slice *value, uint32_t *line)
{
	return map_bdb_read_record(slice(data->data, data->size), value, line);
}

enum answer map_bdb_find(struct map_bdb *m, struct slice key, struct arena *mem, struct map_entry *out)
{
	char direct[DIRECT];
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.n }, v = { .data = direct, .ulen = sizeof direct, .flags = DB_DBT_USERMEM };
	int result = m->db->get(m->db, NULL, &k, &v, 0);
	if (result == DB_NOTFOUND)
		return ABSENT;
	if (result == DB_BUFFER_SMALL && v.size <= MAP_MAX_VALUE + RECORD_HEAD) {
		v.ulen = v.size;
		v.data = arena_new(mem, v.size);
		result = v.data ? m->db->get(m->db, NULL, &k, &v, 0) : ENOMEM;
	}
	struct map_entry e = { .key = key };
	if (result != 0 || !read_record(&v, &e.value, &e.line))
		return UNSURE;
	e.key = arena_copy(mem, key);
	e.value = v.data == direct ? arena_copy(mem, e.value) : e.value;
	if (!e.key.p || !e.value.p)
		return UNSURE;
	*out = e;
	return FOUND;
}

enum answer map_bdb_each(struct map_bdb *m, bool (*each)(void *arg, const struct map_entry *e), void *arg)
{
	DBC *cursor;
	if (m->db->cursor(m->db, NULL, &cursor, 0) != 0)
		return UNSURE;
	DBT k = { 0 }, v = { 0 };
	int result;
	bool damaged = false;
	while ((result = cursor->get(cursor, &k, &v, DB_NEXT)) == 0) {
		struct map_entry e = { .key = slice(k.data, k.size) };
		damaged = !read_record(&v, &e.value, &e.line);
		if (damaged || !each(arg, &e))
			break;
	}
	cursor->close(cursor);
	return damaged || (result != 0 && result != DB_NOTFOUND) ? UNSURE : FOUND;
}

/* Writing: sorted pairs in bulk, so that pages are filled from left to right. */
struct map_bdb_writer {
	DB *db;
	DBT bulk;
	void *at;
	unsigned char *record;
	size_t room;
	int error;
	bool any;
};

int map_bdb_create(const char *path, struct map_bdb_writer **out)
{
	struct map_bdb_writer *w = MEM_NEW(struct map_bdb_writer);
	int result = db_create(&w->db, NULL, 0);
	if (result == 0) {
		w->db->set_errcall(w->db, quiet);
		w->db->set_pagesize(w->db, PAGE);
		w->db->set_cachesize(w->db, 0, WRITE_CACHE, 1);
		result = w->db->open(w->db, NULL, path, NULL, DB_BTREE, DB_CREATE | DB_EXCL, 0600);
		if (result != 0)
			w->db->close(w->db, DB_NOSYNC);
	}
	if (result != 0) {
		mem_free(w);
		return error_of(result);
	}
	w->bulk = (DBT){ .data = mem_new(BULK), .ulen = BULK, .flags = DB_DBT_USERMEM | DB_DBT_BULK };
	DB_MULTIPLE_WRITE_INIT(w->at, &w->bulk);
	*out = w;
	return 0;
}

static void flush(struct map_bdb_writer *w)
{
	DBT none = { 0 };
	if (w->any && !w->error)
		w->error = error_of(w->db->put(w->db, NULL, &w->bulk, &none, DB_MULTIPLE_KEY));
	DB_MULTIPLE_WRITE_INIT(w->at, &w->bulk);
	w->any = false;
}

static void add_large(struct map_bdb_writer *w, struct slice key, size_t size)
{
	flush(w);
	DBT k = { .data = (void *)(uintptr_t)key.p, .size = (u_int32_t)key.n }, v = { .data = w->record, .size = (u_int32_t)size };
	if (!w->error)
		w->error = error_of(w->db->put(w->db, NULL, &k, &v, 0));
}

int map_bdb_add(struct map_bdb_writer *w, const struct map_entry *e)
{
	size_t size = RECORD_HEAD + e->value.n;
	if (size > w->room) {
		w->room = size * 2;
		w->record = mem_grow(w->record, w->room, 1);
	}
	unsigned char head[RECORD_HEAD] = { RECORD_VERSION, (unsigned char)(e->line >> 24), (unsigned char)(e->line >> 16), (unsigned char)(e->line >> 8), (unsigned char)e->line };
	memcpy(w->record, head, RECORD_HEAD);
	if (e->value.n)
		memcpy(w->record + RECORD_HEAD, e->value.p, e->value.n);
	if (size + e->key.n > BULK / 4) {
		add_large(w, e->key, size);
		return w->error;
	}
	void *before = w->at;
	DB_MULTIPLE_KEY_WRITE_NEXT(w->at, &w->bulk, e->key.p, e->key.n, w->record, size);
	if (!w->at) {
		w->at = before;
		flush(w);
		DB_MULTIPLE_KEY_WRITE_NEXT(w->at, &w->bulk, e->key.p, e->key.n, w->record, size);
	}
	w->any = true;
	return w->error;
}

int map_bdb_finish(struct map_bdb_writer *w)
{
	flush(w);
	int result = w->db->close(w->db, 0);
	int error = w->error ? w->error : error_of(result);
	mem_free(w->bulk.data);
	mem_free(w->record);
	mem_free(w);
	return error;
}
