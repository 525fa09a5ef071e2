#ifndef CTL_CTL_STATUS_H
#define CTL_CTL_STATUS_H
#include "base/json.h"
#include "ctl/ctl.h"

/* What the running house says of itself, each scalar with its path (base/json.h): "processes.0.status.messages". 0, or an exit code, with the reason on standard error. */
int ctl_status_each(struct ctl *c, bool (*each)(void *arg, struct slice path, enum json_kind kind, struct slice value), void *arg);
#endif
