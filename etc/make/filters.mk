## make test-filters    real opendkim, ClamAV and rspamd before the 250 (unpacked below build/peers, 60 MB)
.PHONY: test-filters
test-filters: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@PORTER_BUILD=$(abspath $(BUILD)) python3 tests/filters/real.py
