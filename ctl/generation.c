/* Map generations, seen by the parent: which one `current` names, whether its digests are right (looked at by a process of its own, since a million
 * recipients take a second), and telling everybody. */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "ctl/parent.h"
#include "maps/manifest.h"
#include "maps/maps_settings.h"

static const char *maps_directory(struct parent *p)
{
	return arena_cstr(&p->mem, maps_settings.maps_directory);
}

/* The process that verifies has OpenSSL's tables in its memory, and a second's work; the parent has neither. */
static pid_t begin_verify(struct parent *p, uint64_t generation)
{
	char number[24];
	const char *words[] = { maps_directory(p), arena_cstr(&p->mem, maps_settings.secrets_directory), number, NULL };
	snprintf(number, sizeof number, "%llu", (unsigned long long)generation);
	return programs_run(p, "verify", words);
}

static bool is_sound(struct parent *p, uint64_t generation)
{
	int status;
	pid_t pid = begin_verify(p, generation);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* At start nobody serves yet: it may take its time. A damaged generation gives way to the one before. */
int generation_begin(struct parent *p)
{
	uint64_t current = manifest_current(maps_directory(p)), n = current;
	while (n && !is_sound(p, n))
		n = manifest_previous(maps_directory(p), n);
	if (!n) {
		fprintf(stderr, "porterd: no usable maps in %s; make them with: porterctl -c %s compile\n", maps_directory(p), p->directory);
		return -ENOENT;
	}
	p->generation = n;
	if (n != current)
		parent_alert(p, SLICE("the newest maps are damaged: an older generation serves; run porterctl compile"));
	return 0;
}

static void start_verifier(struct parent *p, uint64_t generation)
{
	pid_t pid = begin_verify(p, generation);
	if (pid < 0)
		return parent_alert(p, SLICE("the new maps can't be verified just now, the old ones serve"));
	p->verifier = pid;
	p->verifying = generation;
}

int generation_switch(struct parent *p, struct buf *answer)
{
	uint64_t current = manifest_current(maps_directory(p));
	if (!current) {
		if (answer)
			buf_add_cstr(answer, "there is no generation of maps; run porterctl compile\n");
		return 66;
	}
	if (answer)
		buf_addf(answer, "generation %llu\n", (unsigned long long)current);
	if (current != p->generation && !p->verifier)
		start_verifier(p, current);
	return current != p->generation && !p->verifier ? 75 : 0;
}

bool generation_reap(struct parent *p, pid_t pid, int status)
{
	if (!p->verifier || pid != p->verifier)
		return false;
	p->verifier = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		p->generation = p->verifying;
		log_event(LOG_INFO, "maps", LOG_UINT("generation", p->generation), LOG_END);
		child_told_all(p, HOUSE_MAPS, p->generation);
	} else {
		parent_alert(p, SLICE("the new maps are damaged, the old ones serve; run porterctl compile"));
		control_verified(p, false);
		return true;
	}
	if (manifest_current(maps_directory(p)) != p->generation)
		generation_switch(p, NULL);        /* another compile in the meantime */
	if (!p->verifier)
		control_verified(p, true);
	return true;
}
