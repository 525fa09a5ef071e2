# Sender evidence: the long runs. `make test` has short ones.
.PHONY: test-interop
## make test-interop    10,000 random mails signed by one and checked by the other (dkimpy, Mail::DKIM, opendkim where installed)
test-interop: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_INTEROP=$${PORTER_INTEROP:-10000} python3 tests/vectors/test_interop.py
