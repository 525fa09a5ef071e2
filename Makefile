# Porter. `make help` lists the targets.
SHELL   := /bin/bash
BUILD   ?= build
RUN     ?= $(BUILD)/demo
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
SAN     ?=
OPT     ?= -O2 -g

LIBS_PC  := libevent libevent_pthreads libssl libcrypto libunbound libidn2 libpsl libcap libseccomp libargon2 libpcre2-8
WARN     := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wno-format-nonliteral -Werror
CFLAGS   := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. $(OPT) $(WARN) -fstack-protector-strong -fno-strict-aliasing -pthread $(SAN)
ifeq ($(SAN),)
CFLAGS   += -D_FORTIFY_SOURCE=2
endif
LDLIBS    = $(shell pkg-config --libs $(LIBS_PC)) -ldb-5.3 -lcrypt -pthread
LDFLAGS  := -Wl,-z,relro,-z,now -Wl,--as-needed $(SAN)

ROOMS    := base maps queue delivery smtpd ctl
SOURCES  := $(foreach room,$(ROOMS),$(wildcard $(room)/*.c))
MAINS    := $(wildcard ctl/main_*.c)
OBJECTS  := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MAINS),$(SOURCES)))
BINARIES := $(patsubst ctl/main_%.c,$(BUILD)/%,$(MAINS))
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all units layers clean
all: $(BINARIES)

$(BUILD)/libporter.a: $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $(OBJECTS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(BINARIES): $(BUILD)/%: $(BUILD)/ctl/main_%.o $(BUILD)/libporter.a
	@echo "  ld $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -Wno-missing-prototypes -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS) -lcmocka

units: $(UNITS)

clean:
	rm -rf $(BUILD)

-include $(OBJECTS:.o=.d) $(MAINS:%.c=$(BUILD)/%.d) $(UNITS:=.d)
