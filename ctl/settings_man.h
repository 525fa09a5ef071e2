#ifndef CTL_SETTINGS_MAN_H
#define CTL_SETTINGS_MAN_H
#include <stdbool.h>
#include <stdio.h>

/* porter.conf(5), made from the tables of settings, and the same as a list. */
void settings_man_page(FILE *out);
void settings_list(FILE *out, bool json);
#endif
