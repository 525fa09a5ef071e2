/* The process `login`. Look-ups and SCRAM's digests are done at once; hashes by workers; other sources by helpers. A job whose asker is gone ends unheard. */
#include "smtpd/login.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/text.h"
#include "maps/credentials.h"
#include "maps/maps_settings.h"
#include "maps/password.h"
#include "maps/password_models.h"
#include "smtpd/login_settings.h"

enum { LOOKUP_MEM = 16 << 10, MAX_HELPER_WAITING = 1000, NICENESS = 10, SALT = 16 };

struct self;
struct job {
	struct job *next;             /* of all that are under way */
	struct self *self;
	struct ipc *from;             /* NULL: gone */
	uint64_t id;
	struct buf name, secret, ip, hash;
	struct scram_verifier scram;  /* for a login without a hash; views into scram_bytes */
	struct buf scram_bytes;
	bool nobody;                  /* the login doesn't exist; hash is a model */
	enum answer answer;
	uint64_t helper;              /* number of the helper; 0 not started */
	uint16_t type;
	struct ipc *channel;          /* to the helper */
};

struct self {
	struct house *house;
	struct map_set *maps;
	struct password_models models;
	char *maps_directory, *secrets_directory;
	struct worker *worker;
	struct job *jobs;
	uint64_t hashing, helping, last_helper;
	uint8_t salt_key[32];         /* salts and models of logins that don't exist */
	uint64_t asked, good, refused, unsure;
};

/* -- answers ----------------------------------------------------------------------------------------------------------------------------- */

static void send_answer(struct self *s, struct ipc *to, uint64_t id, const struct login_answer *a)
{
	struct buf b = BUF_INIT(LOGIN_MAX_PAYLOAD);
	*(a->answer == FOUND ? &s->good : a->answer == ABSENT ? &s->refused : &s->unsure) += 1;
	login_answer_add(&b, a);
	if (to)
		ipc_send(to, LOGIN_ANSWER, id, buf_slice(&b), -1);
	buf_free(&b);
}

static void refuse(struct self *s, struct ipc *to, uint64_t id, enum answer what, const char *why)
{
	struct login_answer a = { .answer = what, .why = slice_of(why) };
	send_answer(s, to, id, &a);
}

/* -- jobs -------------------------------------------------------------------------------------------------------------------------------- */

static struct job *job_new(struct self *s, struct ipc *from, struct ipc_message *m, const struct login_question *q)
{
	struct job *j = MEM_NEW(struct job);
	*j = (struct job){ .next = s->jobs, .self = s, .from = from, .id = m->id, .type = m->type, .answer = UNSURE };
	buf_init(&j->name, LOGIN_MAX_NAME);
	buf_init(&j->secret, LOGIN_MAX_SECRET);
	buf_init(&j->ip, 64);
	buf_init(&j->hash, 1024);
	buf_init(&j->scram_bytes, 256);
	buf_add(&j->name, q->name);
	buf_add(&j->secret, q->secret);
	buf_add(&j->ip, q->ip);
	s->jobs = j;
	return j;
}

static void job_free(struct job *j)
{
	struct job **at = &j->self->jobs;
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	if (j->secret.p)
		mem_wipe(j->secret.p, j->secret.cap);
	ipc_free(j->channel);
	buf_free(&j->name);
	buf_free(&j->secret);
	buf_free(&j->ip);
	buf_free(&j->hash);
	buf_free(&j->scram_bytes);
	mem_free(j);
}

static void job_end(struct job *j, enum answer what, struct slice name, struct slice why)
{
	struct login_answer a = { .answer = what, .name = name, .why = why };
	send_answer(j->self, j->from, j->id, &a);
	job_free(j);
}

/* -- the map credentials --------------------------------------------------------------------------------------------------------------------- */

static enum answer find(struct self *s, struct slice name, struct arena *mem, struct credentials *c)
{
	enum answer a = s->maps ? credentials_find(s->maps, name, mem, c) : UNSURE;
	return a == FOUND && !c->hash.n && !c->scram_sha256.iterations ? ABSENT : a; /* a hop's line is no login */
}

static void hash_work(void *arg)
{
	struct job *j = arg;
	struct slice secret = buf_slice(&j->secret);
	if (j->hash.n) {
		j->answer = password_verify(buf_slice(&j->hash), secret);
	} else if (j->scram.iterations) {
		password_verify_nothing(secret); /* a verifier alone is compared in no time, which would tell that the login exists */
		j->answer = password_verify_scram(&j->scram, secret);
	} else {
		password_verify_nothing(secret);
		j->answer = ABSENT;
	}
	if (j->nobody && j->answer == FOUND)
		j->answer = ABSENT; /* somebody else's password */
}

static void hash_done(void *arg)
{
	struct job *j = arg;
	j->self->hashing--;
	job_end(j, j->answer, buf_slice(&j->name), j->answer == UNSURE ? SLICE("the hash can't be computed here") : SLICE_NONE);
}

static void keep_verifier(struct job *j, const struct credentials *c)
{
	buf_add(&j->hash, c->hash);
	if (c->hash.n || !c->scram_sha256.iterations)
		return;
	buf_add(&j->scram_bytes, c->scram_sha256.salt);
	buf_add(&j->scram_bytes, c->scram_sha256.stored_key);
	j->scram = c->scram_sha256;
	j->scram.salt = slice_head(buf_slice(&j->scram_bytes), c->scram_sha256.salt.n);
	j->scram.stored_key = slice_skip(buf_slice(&j->scram_bytes), c->scram_sha256.salt.n);
}

/* A login that doesn't exist always has the same model, since one whose time changes would be known by that. */
static void take_model(struct self *s, struct job *j)
{
	struct arena mem = ARENA_INIT(LOOKUP_MEM);
	uint8_t made[CRYPTO_SHA256];
	uint64_t number;
	crypto_hmac_sha256(slice((char *)s->salt_key, sizeof s->salt_key), text_lower(&mem, buf_slice(&j->name)), made);
	memcpy(&number, made + SALT, sizeof number); /* the bytes before are shown, as its salt */
	const char *model = password_models_pick(&s->models, number);
	j->nobody = true;
	if (model)
		buf_add_cstr(&j->hash, model);
	arena_free(&mem);
}

/* Also for names that don't exist a worker does as much work. */
static void check_password(struct self *s, struct ipc *from, struct ipc_message *m, const struct login_question *q)
{
	struct arena mem = ARENA_INIT(LOOKUP_MEM);
	struct credentials c = { .hash = SLICE_NONE };
	if (s->hashing >= login_settings.workers + login_settings.queue) {
		refuse(s, from, m->id, UNSURE, "too many logins at once");
		return;
	}
	enum answer a = find(s, q->name, &mem, &c);
	if (a == UNSURE) {
		refuse(s, from, m->id, UNSURE, "the map credentials can't be read");
	} else {
		struct job *j = job_new(s, from, m, q);
		if (a == FOUND)
			keep_verifier(j, &c);
		else
			take_model(s, j);
		s->hashing++;
		worker_add(s->worker, hash_work, hash_done, j);
	}
	arena_free(&mem);
}

/* -- SCRAM --------------------------------------------------------------------------------------------------------------------------------- */

/* A login that doesn't exist, or has no verifier, gets a salt that is always the same: its absence shows only in the last answer. */
static void scram_first(struct self *s, struct ipc *from, uint64_t id, const struct login_question *q)
{
	struct arena mem = ARENA_INIT(LOOKUP_MEM);
	struct credentials c = { .hash = SLICE_NONE };
	struct slice name = text_lower(&mem, q->name);
	uint8_t made[CRYPTO_SHA256];
	struct login_answer a = { .answer = FOUND, .rounds = PASSWORD_SCRAM_ROUNDS, .salt = slice((char *)made, SALT) };
	crypto_hmac_sha256(slice((char *)s->salt_key, sizeof s->salt_key), name, made);
	enum answer found = find(s, q->name, &mem, &c);
	if (found == UNSURE) {
		a.answer = UNSURE;
		a.why = SLICE("the map credentials can't be read");
	} else if (found == FOUND && c.scram_sha256.iterations) {
		a.rounds = c.scram_sha256.iterations;
		a.salt = c.scram_sha256.salt;
	}
	send_answer(s, from, id, &a);
	arena_free(&mem);
}

/* RFC 5802, 3: ClientKey := ClientProof XOR HMAC(StoredKey, AuthMessage); H(ClientKey) must be StoredKey. */
static bool proof_fits(const struct scram_verifier *v, const struct login_question *q)
{
	uint8_t signature[CRYPTO_SHA256], key[CRYPTO_SHA256], stored[CRYPTO_SHA256];
	if (q->secret.n != sizeof key)
		return false;
	crypto_hmac_sha256(v->stored_key, q->message, signature);
	for (size_t i = 0; i < sizeof key; i++)
		key[i] = (uint8_t)q->secret.p[i] ^ signature[i];
	crypto_sha256(slice((char *)key, sizeof key), stored);
	mem_wipe(key, sizeof key);
	return slice_eq_secret(slice((char *)stored, sizeof stored), v->stored_key);
}

static void scram_final(struct self *s, struct ipc *from, uint64_t id, const struct login_question *q)
{
	static const char zeros[32];
	struct arena mem = ARENA_INIT(LOOKUP_MEM);
	struct credentials c = { .hash = SLICE_NONE };
	struct scram_verifier nobody = { .stored_key = slice(zeros, 32), .server_key = slice(zeros, 32) };
	uint8_t signature[CRYPTO_SHA256];
	enum answer found = find(s, q->name, &mem, &c);
	bool known = found == FOUND && c.scram_sha256.iterations;
	bool fits = proof_fits(known ? &c.scram_sha256 : &nobody, q);
	struct login_answer a = { .answer = found == UNSURE ? UNSURE : known && fits ? FOUND : ABSENT, .name = q->name };
	crypto_hmac_sha256(known ? c.scram_sha256.server_key : nobody.server_key, q->message, signature);
	if (a.answer == FOUND)
		a.proof = slice((char *)signature, sizeof signature);
	send_answer(s, from, id, &a);
	arena_free(&mem);
}

/* -- helpers ------------------------------------------------------------------------------------------------------------------------------- */

static void start_waiting(struct self *s);

static void helper_ended(struct job *j, const struct login_answer *a)
{
	struct self *s = j->self;
	s->helping--;
	job_end(j, a->answer, a->name.n ? a->name : buf_slice(&j->name), a->why);
	start_waiting(s);
}

static int from_helper(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct job *j = arg;
	struct login_answer a;
	(void)from;
	if (m->type != LOGIN_ANSWER || !login_answer_read(m->payload, &a))
		return -EPROTO;
	helper_ended(j, &a);
	return 0;
}

/* It ended, or talked nonsense: the answer can't be told. */
static void helper_gone(void *arg, struct ipc *which)
{
	struct job *j = arg;
	struct login_answer a = { .answer = UNSURE, .why = SLICE("the helper gave no answer") };
	ipc_free(which);
	j->channel = NULL;
	helper_ended(j, &a);
}

static const struct ipc_handler helper_handler = { from_helper, helper_gone };

static struct slice helper_kind(uint16_t type, struct slice *word)
{
	bool dovecot = slice_eq(login_settings.source, SLICE("dovecot"));
	if (type == LOGIN_TOKEN) {
		*word = login_settings.token_verifier;
		return SLICE("login-token");
	}
	*word = dovecot ? login_settings.dovecot_socket : login_settings.pam_service;
	return dovecot ? SLICE("login-dovecot") : SLICE("login-pam");
}

static void start_helper(struct job *j)
{
	struct self *s = j->self;
	struct buf b = BUF_INIT(LOGIN_MAX_PAYLOAD);
	struct login_question q = { buf_slice(&j->name), buf_slice(&j->secret), SLICE_NONE, buf_slice(&j->ip) };
	struct slice word, kind = helper_kind(j->type, &word);
	int fds[2], error = ipc_pair(fds);
	j->helper = ++s->last_helper;
	s->helping++;
	if (!error) {
		j->channel = ipc_new(s->house->loop, fds[0], &helper_handler, j);
		fcntl(fds[1], F_SETFL, 0); /* the helper waits */
		error = house_helper(s->house, j->helper, kind, login_settings.helper_user, SLICE_NONE, &word, 1, fds[1]);
		close(fds[1]);
	}
	login_question_add(&b, &q);
	if (!error)
		error = ipc_send(j->channel, j->type, 1, buf_slice(&b), -1);
	mem_wipe(b.p, b.cap);
	buf_free(&b);
	if (error) {
		struct login_answer a = { .answer = UNSURE, .why = SLICE("no helper can be started") };
		helper_ended(j, &a);
	}
}

/* The oldest first: the list has the newest in front. */
static void start_waiting(struct self *s)
{
	while (s->helping < login_settings.helpers) {
		struct job *oldest = NULL;
		for (struct job *j = s->jobs; j; j = j->next)
			if (!j->helper && (j->type == LOGIN_TOKEN || !slice_eq(login_settings.source, SLICE("credentials"))))
				oldest = j;
		if (!oldest)
			return;
		start_helper(oldest);
	}
}

static void ask_helper(struct self *s, struct ipc *from, struct ipc_message *m, const struct login_question *q)
{
	size_t waiting = 0;
	for (struct job *j = s->jobs; j; j = j->next)
		waiting++;
	if (waiting >= login_settings.queue + login_settings.helpers || waiting > MAX_HELPER_WAITING) {
		refuse(s, from, m->id, UNSURE, "too many logins at once");
		return;
	}
	job_new(s, from, m, q);
	start_waiting(s);
}

/* -- questions ------------------------------------------------------------------------------------------------------------------------------- */

static int from_peer(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct self *s = arg;
	struct login_question q;
	if (!login_question_read(m->payload, &q))
		return -EPROTO;
	s->asked++;
	bool own = slice_eq(login_settings.source, SLICE("credentials"));
	switch (m->type) {
	case LOGIN_PASSWORD:
		if (own)
			check_password(s, from, m, &q);
		else
			ask_helper(s, from, m, &q);
		return 0;
	case LOGIN_SCRAM_FIRST:
		scram_first(s, from, m->id, &q);
		return 0;
	case LOGIN_SCRAM_FINAL:
		scram_final(s, from, m->id, &q);
		return 0;
	case LOGIN_TOKEN:
		if (login_settings.token_verifier.n)
			ask_helper(s, from, m, &q);
		else
			refuse(s, from, m->id, ABSENT, "no token verifier is set");
		return 0;
	}
	return -EPROTO;
}

/* Of what is read here only a route's own credentials go out as they are, and only to the process that must say them. */
static int from_delivery(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct self *s = arg;
	struct login_question q;
	if (m->type != LOGIN_HOP || !login_question_read(m->payload, &q))
		return -EPROTO;
	struct arena mem = ARENA_INIT(LOOKUP_MEM);
	struct credentials c = { .hash = SLICE_NONE };
	enum answer found = s->maps ? credentials_find(s->maps, q.name, &mem, &c) : UNSURE;
	struct login_answer a = { .answer = found == FOUND && !c.hop_user.n ? ABSENT : found };
	if (a.answer == FOUND) {
		a.name = c.hop_user;
		a.proof = c.hop_password;
	}
	send_answer(s, from, m->id, &a);
	arena_free(&mem);
	return 0;
}

static void peer_gone(void *arg, struct ipc *which)
{
	struct self *s = arg;
	for (struct job *j = s->jobs; j; j = j->next)
		if (j->from == which)
			j->from = NULL;
	ipc_free(which);
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	static const struct ipc_handler handler = { from_peer, peer_gone }, delivery_handler = { from_delivery, peer_gone };
	struct self *s = arg;
	(void)index;
	ipc_new(s->house->loop, fd, slice_eq(role, SLICE("delivery")) ? &delivery_handler : &handler, s);
}

static void on_maps(void *arg, uint64_t generation)
{
	struct self *s = arg;
	struct arena mem = ARENA_INIT(LOOKUP_MEM);
	struct map_set *next = NULL;
	const char *why = "";
	int error = map_set_open(s->maps_directory, s->secrets_directory, generation, &mem, &next, &why);
	if (error) {
		log_event(LOG_ERROR, "maps-refused", LOG_UINT("generation", generation), LOG_CSTR("reason", why), LOG_ERRNO(error), LOG_END);
	} else {
		map_set_close(s->maps);
		s->maps = next;
		password_models_free(&s->models);
		password_models_read(&s->models, next);
		log_event(LOG_DEBUG, "maps", LOG_UINT("generation", generation), LOG_END);
	}
	arena_free(&mem);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *out)
{
	struct self *s = arg;
	if (count != 1 || !slice_eq(words[0], SLICE("status")))
		return -ENOSYS;
	buf_addf(out, "{\"asked\":%llu,\"good\":%llu,\"refused\":%llu,\"unsure\":%llu,\"hashing\":%llu,\"helpers\":%llu}", (unsigned long long)s->asked,
	         (unsigned long long)s->good, (unsigned long long)s->refused, (unsigned long long)s->unsure, (unsigned long long)s->hashing,
	         (unsigned long long)s->helping);
	return 0;
}

/* A secret that outlives restarts keeps the salts of logins that don't exist the same; without the file they change with the process. */
static void take_salt_key(struct self *s)
{
	int fd = house_take_file(s->house, SLICE("login-salt"));
	crypto_random(s->salt_key, sizeof s->salt_key);
	if (fd < 0)
		return;
	char text[256];
	ssize_t n = pread(fd, text, sizeof text, 0);
	if (n > 0)
		crypto_sha256(slice(text, (size_t)n), s->salt_key);
	close(fd);
}

int login_main(struct house *h)
{
	static const struct house_handler handler = { .on_peer = on_peer, .on_maps = on_maps, .on_question = on_question };
	static const struct proc_plan plan = { "_porterauth", -1, PROC_CALLS_FILES };
	static struct self self;
	struct setting_table *const tables[] = { &maps_setting_table, &login_setting_table };
	house_settings(h, tables, sizeof tables / sizeof *tables);
	self.house = h;
	self.maps_directory = mem_copy(maps_settings.maps_directory.p, maps_settings.maps_directory.n);
	self.secrets_directory = mem_copy(maps_settings.secrets_directory.p, maps_settings.secrets_directory.n);
	take_salt_key(&self);
	setpriority(PRIO_PROCESS, 0, NICENESS); /* handshakes and mail go before guesses; threads inherit it */
	house_restrict(h, &plan);
	self.worker = worker_new(h->loop, (unsigned)login_settings.workers, "login-hash");
	if (h->maps_generation)
		on_maps(&self, h->maps_generation);
	return house_run(h, &handler, &self);
}
