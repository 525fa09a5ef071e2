#ifndef CTL_DEMO_MORE_H
#define CTL_DEMO_MORE_H
#include "base/buf.h"

/* What later parts of the house add to the demo: lines of porter.conf, files, hints. */
void demo_add_conf(struct buf *conf, unsigned submission, unsigned submissions, unsigned http);
int demo_add_files(const char *dir);
#endif
