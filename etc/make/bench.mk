# Measured beside Postfix, Exim and OpenSMTPD: ../shared/bench, with our driver.
BENCH      ?= ../shared/bench
BENCH_RUNS ?= 3
SCENARIOS  ?= S1 S1reuse S1signed S2 S3 S6 S7 S9 dkim
BENCH_PEERS ?= porter,postfix,exim,opensmtpd
BENCH_OUT  ?= $(BUILD)/bench/results

## make bench           SCENARIOS (S1 S1reuse S1signed S2 S3 S6 S7 S9 dkim) beside BENCH_PEERS, BENCH_RUNS times (3); as root. S1signed and dkim: the two targets of their own
bench: all
	@[ -x $(BENCH)/bench ] || { echo "make bench needs $(BENCH), the folder that measures mail servers side by side"; exit 1; }
	@mkdir -p $(BENCH_OUT)
	@for s in $(filter-out S1signed dkim,$(SCENARIOS)); do BENCH_DRIVER_PORTER=$(CURDIR)/tests/bench/porter PORTER_BUILD=$(BUILD) \
		python3 -B $(BENCH)/bench $$s --peers $(BENCH_PEERS) --runs $(BENCH_RUNS) --out $(BENCH_OUT) || exit 1; done
	@python3 -B $(BENCH)/bench table --out $(BENCH_OUT)
	@[ -z '$(filter S1signed,$(SCENARIOS))' ] || $(MAKE) -s bench-signed
	@[ -z '$(filter dkim,$(SCENARIOS))' ] || $(MAKE) -s bench-dkim
