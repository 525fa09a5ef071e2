## make bench-commit    messages a second that the mailbox process makes durable (COMMIT_DIR: where)
COMMIT_DIR ?= $(BUILD)/t/commit
.PHONY: bench-commit
$(BUILD)/bench/commit: tests/bench/commit.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)

bench-commit: $(BUILD)/bench/commit
	@mkdir -p $(COMMIT_DIR)
	@for window in 1 2 10 100; do $< $(COMMIT_DIR)/4k $$window 3; done
	@$< $(COMMIT_DIR)/4k 100 3 4096 10
	@$< $(COMMIT_DIR)/64k 10 3 65536
	@rm -rf $(COMMIT_DIR)
