FUZZ_MACHINE_TARGETS ?= sts report json scram login keys handshake
FUZZ_MACHINE_SOURCES := $(wildcard base/*.c) delivery/sts_policy.c delivery/tls_report.c smtpd/auth_scram.c
FUZZ_MACHINE_SECONDS ?= 60
.PHONY: fuzz-machine
## make fuzz-machine [FUZZ_MACHINE_TARGETS="sts scram"] [FUZZ_MACHINE_SECONDS=60]   libFuzzer (clang) on what is said about TLS and logins
fuzz-machine:
	@command -v clang >/dev/null || { echo "fuzz-machine needs clang (Debian: clang)"; exit 1; }
	@mkdir -p $(BUILD)/fuzz/objects
	@set -e; for c in $(FUZZ_MACHINE_SOURCES); do o=$(BUILD)/fuzz/objects/$$(echo $$c | tr / _).o; \
		[ $$o -nt $$c ] || clang -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -O1 -g -fsanitize=fuzzer-no-link,address,undefined -pthread -c $$c -o $$o; done
	@for t in $(FUZZ_MACHINE_TARGETS); do mkdir -p $(BUILD)/fuzz/corpus/machine-$$t; \
		clang -std=gnu11 -D_GNU_SOURCE -I. -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -pthread -DTARGET=$$t \
			-o $(BUILD)/fuzz/machine-$$t tests/fuzz/fuzz_machine.c $(BUILD)/fuzz/objects/*.o $(LDLIBS) || exit 1; \
		echo "fuzz $$t: $(FUZZ_MACHINE_SECONDS) s"; \
		$(BUILD)/fuzz/machine-$$t -max_total_time=$(FUZZ_MACHINE_SECONDS) -timeout=5 -rss_limit_mb=1024 -max_len=16384 -verbosity=0 -print_final_stats=1 \
			$(BUILD)/fuzz/corpus/machine-$$t > $(BUILD)/fuzz/machine-$$t.log 2>&1 || { tail -30 $(BUILD)/fuzz/machine-$$t.log; exit 1; }; \
		grep number_of_executed_units $(BUILD)/fuzz/machine-$$t.log; done
