#ifndef CTL_TABLES_H
#define CTL_TABLES_H
#include "ctl/ctl.h"

/* One table for each ctl/ctl_*.c; a new one is declared here and listed in ctl/tables.c. */
extern const struct ctl_command ctl_house_commands[];
extern const struct ctl_command ctl_status_commands[];
extern const struct ctl_command ctl_send_commands[];
extern const struct ctl_command ctl_trace_commands[];
extern const struct ctl_command ctl_top_commands[];
extern const struct ctl_command ctl_rndr_commands[];
extern const struct ctl_command ctl_queue_commands[];
extern const struct ctl_command ctl_attacks_commands[];
extern const struct ctl_command ctl_harvest_commands[];
extern const struct ctl_command ctl_auth_commands[];
extern const struct ctl_command ctl_dkim_commands[];
extern const struct ctl_command ctl_tls_commands[];
extern const struct ctl_command ctl_tls_report_commands[];
extern const struct ctl_command ctl_maps_prove_commands[];
extern const struct ctl_command ctl_maps_explain_commands[];
extern const struct ctl_command ctl_maps_import_commands[];
extern const struct ctl_command ctl_maps_sync_commands[];
extern const struct ctl_command ctl_maps_look_commands[];
extern const struct ctl_command ctl_maps_edit_commands[];
#endif
