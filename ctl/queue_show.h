#ifndef CTL_QUEUE_SHOW_H
#define CTL_QUEUE_SHOW_H
#include "ctl/queue_query.h"

/* porterctl queue show and dead show: one message with its envelope, what happened to it, and its header section or all of its content. A stranger wrote that: on a
 * terminal nothing of it is a control character. */
int queue_show(struct ctl *c, int argc, char **argv, enum spool_folder where);
#endif
