/* One set of maps at a time: look-ups never outlive a callback, so nobody holds the old one when a new one is opened. */
#include "smtpd/smtpd_maps.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/log.h"
#include "maps/map.h"
#include "maps/maps_settings.h"

int smtpd_maps_root(struct smtpd *d)
{
	int fd = -1;
	struct arena mem = ARENA_INIT(8192);
	int error = file_open(AT_FDCWD, arena_cstr(&mem, maps_settings.maps_directory), O_RDONLY | O_DIRECTORY | O_PATH, 0, &fd);
	if (error)
		log_event(LOG_ERROR, "maps-unusable", LOG_STR("path", maps_settings.maps_directory), LOG_ERRNO(error), LOG_END);
	arena_free(&mem);
	return d->house->privileged ? fd : (file_close(&fd), -1);
}

void smtpd_maps_switch(struct smtpd *d, uint64_t generation)
{
	struct arena mem = ARENA_INIT(64 << 10);
	struct map_set *fresh = NULL;
	const char *why = "";
	if (!generation || (d->maps && map_set_generation(d->maps) == generation))
		return;
	const char *folder = d->house->privileged ? "/" : arena_cstr(&mem, maps_settings.maps_directory);
	int error = map_set_open(folder, "", generation, &mem, &fresh, &why);
	if (error) {
		struct buf b = BUF_INIT(400);
		buf_addf(&b, "generation %llu of the maps can't be opened: %s", (unsigned long long)generation, why);
		house_alert(d->house, buf_slice(&b)); /* the old one goes on serving */
		buf_free(&b);
	} else {
		map_set_close(d->maps);
		d->maps = fresh;
		log_event(LOG_INFO, "maps", LOG_UINT("generation", generation), LOG_END);
	}
	arena_free(&mem);
}
