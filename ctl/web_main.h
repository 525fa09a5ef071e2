#ifndef CTL_WEB_MAIN_H
#define CTL_WEB_MAIN_H
#include "base/house.h"

/* The role `web`. */
int web_main(struct house *h);
#endif
