#ifndef SMTPD_SMTPD_SETTINGS_H
#define SMTPD_SMTPD_SETTINGS_H
#include <stdint.h>
#include "base/setting.h"

enum { SMTPD_MAX_EXEMPT = 256 };
struct smtpd_settings {
	struct slice listen_mx, listen_submission, listen_submissions;
	uint64_t processes;
	uint64_t size_limit;
	uint64_t max_sessions, max_sessions_address, max_sessions_network;
	uint64_t max_recipients, max_commands, max_errors, max_received;
	uint64_t command_timeout_s, data_timeout_s, session_timeout_s;
	uint64_t greet_delay_ms;
	struct slice limit_exempt;
	uint64_t harvest_slow, harvest_blind, harvest_refuse, harvest_half_life_s, harvest_refuse_s, harvest_good;
	uint64_t rate_client, rate_network, rate_reverse_path, rate_recipient;
	uint64_t hop_patience_s, hop_dot_patience_s;
};

extern struct smtpd_settings smtpd_settings;
extern struct setting_table smtpd_setting_table;
#endif
