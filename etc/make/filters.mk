## make test-filters    real opendkim, ClamAV and rspamd before the 250 (unpacked below build/peers, 60 MB)
.PHONY: test-filters
test-filters: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_RSPAMD=1 python3 tests/filters/real.py

$(BUILD)/bench/milter: tests/bench/milter.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -o $@ $< $(LDFLAGS)

## make bench-milter    messages a second with one milter in between, as a share of those without
.PHONY: bench-milter
bench-milter: all $(BUILD)/bench/milter
	@PORTER_BUILD=$(abspath $(BUILD)) python3 tests/bench/milter.py $(BUILD)/bench/milter
