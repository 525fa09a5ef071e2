/* Verdicts of the maps, without a session. */
#include "smtpd/judge.h"

#include "base/buf.h"
#include "maps/clients.h"
#include "maps/senders.h"

#define UNSURE_MAP MAIL_STATUS(MAIL_LATER, 451, 3, 0, "Could not look this up, try again later")

/* Named, so that whoever set the mail program up sees which of the two is wrong. */
static struct mail_status not_his(struct slice login, const struct mail_path *path, struct arena *mem)
{
	struct buf text = BUF_INIT(800);
	buf_addf(&text, "The login %.*s may not use the reverse-path ", SLICE_FMT(login));
	mail_path_print(&text, path);
	struct slice copy = buf_full(&text) ? SLICE_NONE : arena_copy(mem, buf_slice(&text));
	buf_free(&text);
	return (struct mail_status){ MAIL_NEVER, 550, { 7, 1 }, copy.p ? copy : SLICE("This login may not use this reverse-path") };
}

static struct mail_status of_login(struct map_set *maps, const struct judge_client *client, const struct mail_path *path, struct arena *mem, struct evidence *out)
{
	switch (mail_path_is_null(path) ? FOUND : senders_may_use(maps, client->login, path, mem)) {
	case FOUND:
		*out = (struct evidence){ EVIDENCE_AUTH, client->login, SLICE("SMTP AUTH") };
		return MAIL_STATUS_OK;
	case ABSENT:
		return not_his(client->login, path, mem);
	case UNSURE:
		break;
	}
	return UNSURE_MAP;
}

/* A null reverse-path from inside proves nothing, but is let through as far as the gate (rule.md, "One gate"), which asks whether its recipient wrote to us. */
#define FOR_THE_GATE SLICE("a null reverse-path from inside: the gate decides")

/* rule.md: what `senders` grants to the user; any other path counts as none. */
static struct mail_status of_user(struct map_set *maps, struct slice user, const struct mail_path *path, struct arena *mem, struct evidence *out)
{
	struct buf key = BUF_INIT(300);
	buf_addf(&key, "unix:%.*s", SLICE_FMT(user));
	enum answer a = mail_path_is_null(path) || buf_full(&key) ? ABSENT : senders_may_use(maps, buf_slice(&key), path, mem);
	buf_free(&key);
	if (mail_path_is_null(path))
		*out = (struct evidence){ EVIDENCE_LOCAL, user, FOR_THE_GATE };
	if (a == FOUND)
		*out = (struct evidence){ EVIDENCE_LOCAL, user, SLICE("listed in senders") };
	return a == UNSURE ? UNSURE_MAP : MAIL_STATUS_OK;
}

static struct mail_status of_client(struct map_set *maps, const struct judge_client *client, const struct mail_path *path, struct arena *mem, struct evidence *out)
{
	struct slice key = SLICE("");
	bool null = mail_path_is_null(path);
	enum answer a = null ? clients_known(maps, client->ip, client->certificate, mem) : clients_may_speak(maps, client->ip, client->certificate, path->domain, mem, &key);
	if (a == FOUND)
		*out = null ? (struct evidence){ EVIDENCE_CLIENT, SLICE("clients"), FOR_THE_GATE } : (struct evidence){ EVIDENCE_CLIENT, key, SLICE("listed in clients") };
	return a == UNSURE ? UNSURE_MAP : MAIL_STATUS_OK;
}

struct mail_status judge_evidence(struct map_set *maps, const struct judge_client *client, const struct mail_path *reverse_path, struct arena *mem, struct evidence *out)
{
	struct mail_status status = MAIL_STATUS_OK;
	*out = (struct evidence){ EVIDENCE_NONE, SLICE(""), SLICE("") };
	if (client->login.n)
		return of_login(maps, client, reverse_path, mem, out);
	if (client->user.n)
		return of_user(maps, client->user, reverse_path, mem, out);
	if (client->ip && map_size(maps, MAP_CLIENTS))
		status = of_client(maps, client, reverse_path, mem, out);
	if (status.fate != MAIL_OK)
		return status;
	if (client->submission && out->grade < EVIDENCE_CLIENT)
		return MAIL_STATUS(MAIL_NEVER, 530, 7, 0, "Authentication required");
	return MAIL_STATUS_OK;
}

struct mail_status judge_forward_path(struct map_set *maps, const struct evidence *evidence, const struct mail_path *forward_path, bool want_steps, struct arena *mem,
                                      struct resolved *out)
{
	resolve_path(maps, forward_path, want_steps, mem, out);
	if (out->class == RESOLVE_FOREIGN && evidence->grade < EVIDENCE_CLIENT)
		return MAIL_STATUS(MAIL_NEVER, 550, 7, 1, "Relaying is for authenticated senders");
	return out->status;
}
