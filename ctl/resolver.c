/* The role `resolver`: libunbound for the whole house, behind base/dns_proto.h. */
#include "ctl/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/dns_proto.h"
#include "base/dns_settings.h"
#include "base/general_settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "maps/maps_settings.h"

struct self {
	struct house *house;
	struct dns *dns;
	size_t open;
	uint64_t asked, unsure;
};

/* A process that asks. */
struct asker {
	struct self *self;
	struct ipc *channel;
	struct question *first;
	size_t count;
};

struct question {
	struct asker *asker;
	uint64_t id;
	struct dns_query *query;
	struct question *next, *before;
};

static void forget(struct question *q)
{
	struct asker *a = q->asker;
	*(q->before ? &q->before->next : &a->first) = q->next;
	if (q->next)
		q->next->before = q->before;
	a->count--;
	a->self->open--;
	mem_free(q);
}

static void tell(struct asker *a, uint64_t id, const struct dns_answer *answer)
{
	struct buf payload = BUF_INIT(DNS_MAX_PAYLOAD);
	dns_put_answer(&payload, answer);
	a->self->unsure += answer->answer == UNSURE;
	ipc_send(a->channel, DNS_ANSWER, id, buf_slice(&payload), -1);
	buf_free(&payload);
}

static void answered(void *arg, const struct dns_answer *answer)
{
	struct question *q = arg;
	struct asker *a = q->asker;
	uint64_t id = q->id;
	forget(q);
	tell(a, id, answer);
}

static void ask(struct asker *a, uint64_t id, enum dns_type type, struct slice name)
{
	static const struct dns_answer busy = { .answer = UNSURE, .why = "servfail" };
	a->self->asked++;
	if (a->count >= DNS_MAX_OPEN)
		return tell(a, id, &busy);
	struct question *q = MEM_NEW(struct question);
	*q = (struct question){ .asker = a, .id = id, .next = a->first };
	if (a->first)
		a->first->before = q;
	a->first = q;
	a->count++;
	a->self->open++;
	q->query = dns_ask(a->self->dns, type, name, answered, q);
}

static void drop(struct asker *a, uint64_t id)
{
	struct question *q = a->first;
	while (q && q->id != id)
		q = q->next;
	if (!q)
		return; /* its answer is under way */
	dns_cancel(q->query);
	forget(q);
}

static int from_asker(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct asker *a = arg;
	enum dns_type type;
	struct slice name;
	(void)from;
	if (m->type == DNS_DROP) {
		drop(a, m->id);
		return 0;
	}
	if (m->type != DNS_ASK || !dns_get_question(m->payload, &type, &name))
		return -EPROTO;
	ask(a, m->id, type, name);
	return 0;
}

static void asker_gone(void *arg, struct ipc *which)
{
	struct asker *a = arg;
	ipc_free(which);
	while (a->first) {
		dns_cancel(a->first->query);
		forget(a->first);
	}
	mem_free(a);
}

static void on_peer(void *arg, struct slice role, unsigned index, int fd)
{
	static const struct ipc_handler handler = { from_asker, asker_gone };
	struct self *self = arg;
	struct asker *a = MEM_NEW(struct asker);
	(void)role, (void)index;
	*a = (struct asker){ .self = self };
	a->channel = ipc_new(self->house->loop, fd, &handler, a);
}

static int on_question(void *arg, const struct slice *words, size_t count, struct buf *out)
{
	struct self *self = arg;
	if (count != 1 || !slice_eq(words[0], SLICE("status")))
		return -ENOSYS;
	buf_addf(out, "{\"asked\":%llu,\"open\":%zu,\"unsure\":%llu}", (unsigned long long)self->asked, self->open, (unsigned long long)self->unsure);
	return 0;
}

/* A folder that is read by others too, as delivery's; all that the resolver reads it has read by then: /etc/resolv.conf, the trust anchor. */
static int restrict_to_maps(struct house *h)
{
	const char *folder = arena_cstr(&h->mem, maps_settings.maps_directory);
	int root = h->privileged ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (h->privileged && root < 0) {
		log_event(LOG_ERROR, "maps-directory-unusable", LOG_STR("path", maps_settings.maps_directory), LOG_ERRNO(-errno), LOG_END);
		return -errno;
	}
	struct proc_plan plan = { "_porter", root, PROC_CALLS_NETWORK };
	house_restrict(h, &plan);
	if (root >= 0)
		close(root);
	return 0;
}

int resolver_main(struct house *h)
{
	static const struct house_handler handler = { .on_peer = on_peer, .on_question = on_question };
	static struct setting_table *const tables[] = { &general_setting_table, &dns_setting_table, &maps_setting_table };
	static struct self self;
	const char *why = "";
	self.house = h;
	house_settings(h, tables, sizeof tables / sizeof *tables);
	struct dns_settings settings = dns_settings_made();
	self.dns = dns_new(h->loop, &settings, &why);
	if (!self.dns) {
		log_event(LOG_ERROR, "dns-unusable", LOG_CSTR("why", why), LOG_END);
		return 1;
	}
	proc_raise_descriptors(4096);
	if (restrict_to_maps(h) < 0)
		return 1;
	int code = house_run(h, &handler, &self);
	dns_free(self.dns);
	return code;
}
