#ifndef CTL_QUEUE_LIST_H
#define CTL_QUEUE_LIST_H
#include "ctl/queue_query.h"

/* porterctl queue list and dead list: rows for people, rows of chosen columns, JSON; as they come, or sorted, of which only the first are kept where there is a limit. */
#define QUEUE_LIST_USAGE "[--sort age|size|next|attempts|sender|recipient|place] [--reverse] [--columns LIST] [--json]"

int queue_list(struct ctl *c, int argc, char **argv, enum spool_folder where);

/* A message as one JSON object. */
void queue_list_json(struct buf *out, const struct queue_row *row);
#endif
