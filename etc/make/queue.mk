# The queue at its full size.
FLOOD ?= 100000
.PHONY: test-fairness
## make test-fairness   one message of somebody behind FLOOD (100,000) queued ones of another user
test-fairness: all
	@PORTER_BUILD=$(abspath $(BUILD)) tests/long/fairness.py $(FLOOD)

## make test-slow-hop   10,000 messages for a hop that answers a byte a minute
.PHONY: test-slow-hop
test-slow-hop: all
	@PORTER_BUILD=$(abspath $(BUILD)) tests/long/slow_hop.py

test-long: test-fairness test-slow-hop

## make bench-long      MILLION (1,000,000) deferred messages on a spool of its own: memory, listing, restart; as root, 16 GiB free
MILLION ?= 1000000
.PHONY: bench-long
bench-long: all
	@PORTER_BUILD=$(abspath $(BUILD)) tests/long/million.py $(MILLION)

$(BUILD)/e2e/fill_spool: tests/e2e/fill_spool.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)

-include $(BUILD)/e2e/fill_spool.d
units: $(BUILD)/e2e/fill_spool
