## make fuzz-maps       fuzzes the readers of maps with libFuzzer (clang), FUZZ_SECONDS each (60)
FUZZ_SECONDS ?= 60
FUZZ_MAPS    := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/bin/%,$(wildcard tests/fuzz/maps_*.c))
FUZZ_FLAGS   := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -pthread
FUZZ_OBJECTS := $(patsubst %.c,$(BUILD)/fuzz/%.o,$(wildcard base/*.c) $(wildcard maps/*.c) $(wildcard ctl/import*.c) ctl/sync_source.c)
.PHONY: fuzz-maps test-maps-long
$(BUILD)/fuzz/%.o: %.c
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) -c $< -o $@

$(BUILD)/fuzz/bin/%: tests/fuzz/%.c $(FUZZ_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $(BUILD)/fuzz/libfuzzed.a; ar rcs $(BUILD)/fuzz/libfuzzed.a $(FUZZ_OBJECTS)
	@clang $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< $(BUILD)/fuzz/libfuzzed.a $(LDLIBS)

fuzz-maps: $(FUZZ_MAPS)
	@for target in $(FUZZ_MAPS); do corpus=$(BUILD)/fuzz/corpus/$${target##*/}; mkdir -p $$corpus; cp -n tests/fuzz/maps-seeds/$${target##*/}/* $$corpus/ 2>/dev/null; \
	  $$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 $$corpus || exit 1; done

## make test-maps-long  two readers under a compile loop for a minute; 5,000 random worlds of aliases, 20,000 edits; 30,000 addresses explained
test-maps-long: all units
	@PORTER_SECONDS=60 $(BUILD)/unit/test_maps_readers
	@PORTER_ROUNDS=5000 $(BUILD)/unit/test_maps_property
	@PORTER_ROUNDS=20000 $(BUILD)/unit/test_maps_edit
	@PORTER_BUILD=$(abspath $(BUILD)) PORTER_SLOW=4 PORTER_ADDRESSES=30000 python3 tests/e2e/test_explain.py

test-long: test-maps-long

## make bench-maps      one million recipients: compile, proof, a change of one line
.PHONY: bench-maps
bench-maps: all
	@PORTER_BUILD=$(BUILD) python3 tests/bench/maps.py
