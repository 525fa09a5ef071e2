/* One question to a next hop, by delivery/hop in this process: both ends of its channel are here. */
#include "ctl/explain_hop.h"

#include <errno.h>
#include <unistd.h>

#include "base/dns_settings.h"
#include "base/general_settings.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/tls.h"
#include "delivery/delivery_settings.h"
#include "delivery/hop.h"
#include "delivery/hop_proto.h"
#include "delivery/tls_policy_settings.h"
#include "maps/map_value.h"

enum { BUDGET_MS = 55000, WAIT_MS = 65000, MAX_PLACE = 4096 };

#define GONE MAIL_STATUS(MAIL_LATER, 451, 3, 0, "The next hop can't be asked just now, try again later")
#define TRANSACTION SLICE("explain")

/* One for all questions of a run: connections to a hop are kept. */
struct asker {
	struct ctl *c;
	struct loop *loop;
	struct hops hops;
	struct hop *hop;
	struct ipc *channel;
	struct loop_timer *patience;
	bool down;
	struct mail_status status;
};

static int on_answer(void *arg, struct ipc *from, struct ipc_message *m)
{
	struct asker *a = arg;
	struct hop_rcpt_done d;
	(void)from;
	if (m->type != HOP_RCPT_DONE || hop_get_rcpt_done(m->payload, &d) < 0)
		return -EPROTO;
	a->status = mail_status_copy(&a->c->mem, d.status);
	a->down = d.facts.down;
	loop_stop(a->loop);
	return 0;
}

static void on_close(void *arg, struct ipc *which)
{
	struct asker *a = arg;
	ipc_free(which);
	a->channel = NULL;
	loop_stop(a->loop);
}

static void on_patience(void *arg)
{
	loop_stop(((struct asker *)arg)->loop);
}

static bool set_up_hops(struct asker *a)
{
	struct dns_settings dns = dns_settings_made();
	const char *why;
	hops_init(&a->hops, a->loop);
	a->hops.helo = general_settings.hostname;
	a->hops.tls = tls_policy_settings.standard;
	a->hops.dane = tls_policy_settings.dane;
	a->hops.chunking = delivery_settings.chunking;
	a->hops.connect_ms = delivery_settings.connect_s * 1000;
	a->hops.hosts.mx_port = (uint16_t)delivery_settings.port;
	a->hops.hosts.dns = dns_new(a->loop, &dns, &why);
	tls_load_roots(arena_cstr(&a->c->mem, tls_settings.roots));
	return a->hops.hosts.dns != NULL;
}

static struct asker *asker(struct ctl *c)
{
	static const struct ipc_handler handler = { on_answer, on_close };
	static struct asker *a;
	int fds[2];
	if (a)
		return a;
	a = MEM_NEW(struct asker);
	a->c = c;
	log_open(STDERR_FILENO, LOG_FORM_TEXT, "porterctl");
	log_set_level(LOG_ERROR);
	a->loop = loop_new();
	a->patience = loop_timer_new(a->loop, on_patience, a);
	if (!set_up_hops(a) || ipc_pair(fds) < 0)
		return a;
	struct hop_setup setup = { .hops = &a->hops, .window_max = 1, .positive_s = 0, .negative_s = 0 };
	a->hop = hop_new(a->loop, &setup);
	hop_add_peer(a->hop, fds[0]);
	a->channel = ipc_new(a->loop, fds[1], &handler, a);
	return a;
}

static struct slice address_of(struct ctl *c, const struct mail_path *p)
{
	struct buf b = BUF_INIT(1024);
	if (!mail_path_is_null(p))
		mail_path_print(&b, p);
	struct slice s = arena_copy(&c->mem, buf_slice(&b));
	buf_free(&b);
	return s;
}

/* As smtpd's transaction does: BEGIN, RCPT, and without content ABORT. */
static void ask(struct asker *a, const struct explain_hop_question *q)
{
	struct buf place = BUF_INIT(MAX_PLACE), b = BUF_INIT(32 << 10);
	buf_addf(&place, "%s%.*s", q->leaf->kind == LEAF_LMTP ? "lmtp:" : "", SLICE_FMT(q->leaf->place));
	struct hop_envelope e = { .transaction = TRANSACTION, .place = buf_slice(&place), .route = q->leaf->route, .reverse_path = address_of(a->c, q->from),
		                  .envelope_id = SLICE(""), .size = q->size, .budget_ms = BUDGET_MS };
	struct hop_rcpt r = { TRANSACTION, { q->leaf->address, SLICE(""), 0 }, false };
	hop_put_envelope(&b, &e);
	ipc_send(a->channel, HOP_BEGIN, 0, buf_slice(&b), -1);
	buf_clear(&b);
	hop_put_rcpt(&b, &r);
	ipc_send(a->channel, HOP_RCPT, 1, buf_slice(&b), -1);
	loop_timer_set(a->patience, WAIT_MS);
	loop_run(a->loop);
	loop_timer_stop(a->patience);
	buf_clear(&b);
	hop_put_transaction(&b, TRANSACTION);
	if (a->channel)
		ipc_send(a->channel, HOP_ABORT, 0, buf_slice(&b), -1);
	buf_free(&b);
	buf_free(&place);
}

struct mail_status explain_hop(struct ctl *c, const struct explain_hop_question *q, bool *down)
{
	struct asker *a = asker(c);
	a->c = c;
	a->down = true;
	a->status = GONE;
	if (a->channel)
		ask(a, q);
	if (down)
		*down = a->down;
	bool known = q->leaf->kind == LEAF_HOP && q->leaf->relayed && !q->leaf->ask;
	if (a->down && known && !mail_path_is_null(q->from) && q->grade >= EVIDENCE_SPF)
		return MAIL_STATUS_OK;
	return a->status;
}

bool explain_hop_can(struct ctl *c, const struct leaf *leaf)
{
	struct map_route r;
	return !leaf->route.n || (!map_route_parse(leaf->route, &c->mem, &r) && !r.credentials.n);
}
