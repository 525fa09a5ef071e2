# Next hops that are not ours.
HOP_ROUNDS ?= 40
.PHONY: test-real-hops
## make test-real-hops  Postfix, Exim, OpenSMTPD and Dovecot as next hops, each killed behind the dot HOP_ROUNDS times (40)
test-real-hops: test-deps all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_ROUNDS=$(HOP_ROUNDS) PYTHONPATH=tests/lib python3 tests/e2e/test_real_hops.py

.PHONY: test-flood
## make test-flood      a million recipients for one next hop that knows none of them
test-flood: test-deps all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_FLOOD=1000000 PYTHONPATH=tests/lib python3 tests/e2e/test_bad_hops.py

## make test-long       the long forms of the tests of next hops and of the queue
test-long: test-real-hops test-flood

## make bench-pass      messages a second passed through to a sink, refusals a second at RCPT
.PHONY: bench-pass
bench-pass: all
	@PORTER_BUILD=$(abspath $(BUILD)) python3 tests/bench/pass.py

.PHONY: test-real-policy
test-real-policy: all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_POSTGREY=1 PYTHONPATH=tests/lib python3 tests/e2e/test_real_policy.py

test-filters: test-real-policy
