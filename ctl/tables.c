/* The families of commands. */
#include "ctl/tables.h"

const struct ctl_command *const ctl_tables[] = {
	ctl_house_commands,
	ctl_status_commands,
	ctl_send_commands,
	ctl_trace_commands,
	ctl_top_commands,
	ctl_rndr_commands,
	ctl_queue_commands,
	ctl_attacks_commands,
	ctl_harvest_commands,
	ctl_auth_commands,
	ctl_dkim_commands,
	ctl_tls_commands,
	ctl_tls_report_commands,
	ctl_maps_prove_commands,
	ctl_maps_explain_commands,
	ctl_maps_look_commands,
	ctl_maps_edit_commands,
	ctl_maps_import_commands,
	ctl_maps_sync_commands,
	NULL
};
