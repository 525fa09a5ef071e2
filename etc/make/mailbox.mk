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

## make test-kill       kill -9 under load, KILL_ROUNDS rounds (200), at the mailboxes and at the queue; at every call of a report's way
KILL_ROUNDS ?= 200
.PHONY: test-kill test-memory
test-kill: all
	@PORTER_BUILD=$(BUILD) tests/kill/kill.py $(KILL_ROUNDS)
	@PORTER_BUILD=$(BUILD) tests/kill/kill_queue.py $(KILL_ROUNDS)
	@PORTER_BUILD=$(BUILD) tests/kill/test_kill_report.py --all

## make test-memory     memory after 100,000 messages and 100,000 aborted sessions
test-memory: all
	@PORTER_BUILD=$(BUILD) tests/long/memory.py
