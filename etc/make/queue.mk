# The queue at its full size.
FLOOD ?= 100000
.PHONY: test-fairness
## make test-fairness   one message of somebody behind FLOOD (100,000) queued ones of another user
test-fairness: all
	@PORTER_BUILD=$(abspath $(BUILD)) tests/long/fairness.py $(FLOOD)

test-long: test-fairness
