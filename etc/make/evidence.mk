# Sender evidence: the long runs. `make test` has short ones.
.PHONY: test-interop test-dns-faults test-long
## make test-interop    10,000 random mails signed by one and checked by the other (dkimpy, Mail::DKIM, opendkim)
test-long: test-interop test-dns-faults
test-interop: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_INTEROP=$${PORTER_INTEROP:-10000} python3 tests/vectors/test_interop.py

## make test-dns-faults verdicts on 1,000 mails while DNS drops, delays, cuts and lies
test-dns-faults: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_ROUNDS=$${PORTER_ROUNDS:-1000} python3 tests/e2e/test_dns_faults.py

FUZZ_EVIDENCE_TARGETS ?= spf tags key header address author signature arc dmarc authres report date
FUZZ_EVIDENCE_SECONDS ?= 3600
FUZZ_EVIDENCE_FLAGS   := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -O1 -g -fno-sanitize-recover=undefined -pthread
FUZZ_EVIDENCE_OBJECTS := $(patsubst %.c,$(BUILD)/fuzz/evidence/%.o,$(wildcard base/*.c))
.PHONY: fuzz-evidence
$(BUILD)/fuzz/evidence/%.o: %.c
	@mkdir -p $(@D)
	@clang $(FUZZ_EVIDENCE_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -MMD -MP -c $< -o $@

-include $(FUZZ_EVIDENCE_OBJECTS:.o=.d)
## make fuzz-evidence [FUZZ_EVIDENCE_TARGETS="spf arc"] [FUZZ_EVIDENCE_SECONDS=3600]   libFuzzer (clang) on what strangers write into mail and DNS; one after another
fuzz-evidence: $(FUZZ_EVIDENCE_OBJECTS)
	@mkdir -p $(BUILD)/fuzz && tests/fuzz/seeds $(BUILD)/fuzz/corpus
	@for t in $(FUZZ_EVIDENCE_TARGETS); do \
		clang $(FUZZ_EVIDENCE_FLAGS) -fsanitize=fuzzer,address,undefined -DTARGET=$$t -o $(BUILD)/fuzz/$$t tests/fuzz/fuzz_evidence.c $(FUZZ_EVIDENCE_OBJECTS) $(LDLIBS) || exit 1; \
		mkdir -p $(BUILD)/fuzz/corpus/$$t; \
		echo "fuzz $$t: $(FUZZ_EVIDENCE_SECONDS) s"; \
		$(BUILD)/fuzz/$$t -max_total_time=$(FUZZ_EVIDENCE_SECONDS) -timeout=5 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 $(BUILD)/fuzz/corpus/$$t \
			> $(BUILD)/fuzz/$$t.log 2>&1 || { tail -30 $(BUILD)/fuzz/$$t.log; exit 1; }; \
		grep -E 'number_of_executed_units|average_exec' $(BUILD)/fuzz/$$t.log; \
	done

.PHONY: bench-dkim
## make bench-dkim      DKIM verify and sign beside OpenSSL's own hash and RSA
bench-dkim: deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@mkdir -p $(BUILD)/bench
	@$(CC) $(CFLAGS) -Wno-missing-prototypes -o $(BUILD)/bench/dkim tests/bench/dkim.c $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)
	@$(BUILD)/bench/dkim

.PHONY: bench-signed
## make bench-signed    S1 with signed mail and every check on, beside Postfix + opendkim + opendmarc + rspamd and Exim with its own SPF and DKIM; as root
bench-signed: all
	@[ -x $(BENCH)/bench ] || { echo "make bench-signed needs $(BENCH), the folder that measures mail servers side by side"; exit 1; }
	@PORTER_BUILD=$(abspath $(BUILD)) python3 -B tests/bench/signed.py $(BENCH) $(BENCH_OUT) $(BENCH_RUNS)

$(BUILD)/e2e/ledger_age: tests/e2e/ledger_age.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)

-include $(BUILD)/e2e/ledger_age.d
units: $(BUILD)/e2e/ledger_age
