/* How a process of the house begins. It knows no role: a program of one role (ctl/main_porterd-*.c) links what that role needs, and nothing else. */
#include "ctl/role_begin.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/general_settings.h"
#include "base/log.h"

enum { EX_USAGE = 64 };

static void set_log_level(struct house *h)
{
	static struct setting_table *const tables[] = { &general_setting_table };
	enum log_level level;
	enum log_level told = log_get_level();
	house_settings(h, tables, 1);
	if (told == LOG_INFO && log_level_parse(general_settings.log_level, &level))
		log_set_level(level);
}

void role_open_log(const char *option, const char *process)
{
	enum log_form form = LOG_FORM_TEXT;
	if (option && strncmp(option, "--log=", 6) == 0)
		log_form_parse(slice_of(option + 6), &form);
	log_open(STDERR_FILENO, form, process);
}

void role_name_process(const char *role)
{
	char name[32];
	snprintf(name, sizeof name, "porterd:%s", role);
	prctl(PR_SET_NAME, name);
}

int role_begin(const char *name, int (*role_main)(struct house *h), const char *log_option)
{
	static struct house house;
	role_open_log(log_option, name);
	role_name_process(name);
	int error = house_begin(&house);
	if (error) {
		fprintf(stderr, "porterd: role %s: no beginning by a parent: %s\n", name, strerror(-error));
		return EX_USAGE;
	}
	set_log_level(&house);
	return role_main(&house);
}

int role_program(const char *name, int (*role_main)(struct house *h), int argc, char **argv)
{
	mallopt(M_ARENA_MAX, 1); /* as in porterd */
	if (argc == 4 && strncmp(argv[1], "--role=", 7) == 0 && strcmp(argv[1] + 7, name) == 0)
		return role_begin(name, role_main, argv[3]);
	fprintf(stderr, "porterd-%s: a part of porterd(8), which starts it\n", name);
	return EX_USAGE;
}
