# The RNDR check beside other servers, and the long attack.
ATTACK_MESSAGES ?= 100000
ATTACK_RATE     ?= 1000

## make test-attack     ATTACK_MESSAGES (100,000) with forged senders while real mail flows
.PHONY: test-attack bench-rndr
test-attack: all
	@PORTER_BUILD=$(BUILD) tests/long/attack.py $(ATTACK_MESSAGES) $(ATTACK_RATE)

## make bench-rndr      the table of etc/doc/rndr.md: rndr-check against Postfix, Exim, OpenSMTPD, as shipped and hardened, beside S5's counts; as root
bench-rndr: all
	@[ -x $(BENCH)/bench ] || { echo "make bench-rndr needs $(BENCH), the folder that measures mail servers side by side"; exit 1; }
	@mkdir -p $(BENCH_OUT)
	@BENCH_DRIVER_PORTER=$(CURDIR)/tests/bench/porter PORTER_BUILD=$(BUILD) python3 -B $(BENCH)/bench S5 --runs 1 --out $(BENCH_OUT) \
		--peers porter,postfix,postfix+best,exim,exim+best,opensmtpd,opensmtpd+best
	@PORTER_BUILD=$(BUILD) python3 -B tests/bench/rndr.py $(BENCH) $(BENCH_OUT)
