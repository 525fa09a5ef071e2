# Porter. `make help` lists the targets; README.md says the rest.
SHELL   := /bin/bash
BUILD   ?= build
# In one spelling, since the lists of headers (.d) name files by it.
override BUILD := $(patsubst $(CURDIR)/%,%,$(BUILD))
RUN     ?= $(BUILD)/demo
PREFIX  ?= /usr/local
SYSCONF ?= /etc/porter
STATE   ?= /var/lib/porter
DESTDIR ?=
CC      ?= gcc
SAN     ?=
OPT     ?= -O2 -g

# What building and serving need; what the tests need on top (mail servers are unpacked below build/, never installed).
PACKAGES      := pkg-config libevent-dev libssl-dev nettle-dev libdb5.3-dev libunbound-dev libidn2-dev libunistring-dev libpsl-dev libcap-dev libseccomp-dev \
                 libargon2-dev libpcre2-dev libcrypt-dev zlib1g-dev libcurl4-openssl-dev libldap-dev libpam0g-dev
TEST_PACKAGES := libcmocka-dev python3 swaks msmtp curl openssl strace iproute2 xfsprogs btrfs-progs python3-dnspython python3-yaml python3-dkim python3-authres libmail-dkim-perl libxml2-utils mandoc nsd ldnsutils slapd

LIBS_PC  := libevent libevent_pthreads libssl libcrypto nettle libunbound libidn2 libpsl libcap libseccomp libargon2 libpcre2-8 zlib
WARN     := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wformat=2 -Wno-format-nonliteral -Werror
CFLAGS   := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I. $(OPT) $(WARN) -fstack-protector-strong -fno-strict-aliasing -fPIE -pthread $(SAN)
ifeq ($(SAN),)
CFLAGS   += -D_FORTIFY_SOURCE=2
endif
LDLIBS    = $(shell pkg-config --libs $(LIBS_PC)) -ldb-5.3 -lcrypt -lldap -llber -lunistring -pthread
LDFLAGS  := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SAN)
SANITIZE := -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined

ROOMS    := base maps queue delivery smtpd ctl
SOURCES  := $(foreach room,$(ROOMS),$(wildcard $(room)/*.c))
MAINS    := $(wildcard ctl/main_*.c)
OBJECTS  := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(MAINS),$(SOURCES)))
BINARIES := $(patsubst ctl/main_%.c,$(BUILD)/%,$(MAINS))
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))

.DELETE_ON_ERROR:
.PHONY: all help deps test-deps users run units test test-asan test-kill test-long bench layers install uninstall clean

all: $(BINARIES)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make run [RUN=DIR]   install what is missing, build, serve example.test on loopback until Ctrl-C
run: deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all
	@[ $$(id -u) != 0 ] || etc/users
	@command -v curl >/dev/null || etc/packages curl || true # for the lines to paste; Porter itself doesn't need it
	@$(BUILD)/porterd demo $(RUN)
	@exec $(BUILD)/porterd -c $(RUN)/etc

## make deps            Debian's packages that building and serving need
deps:
	@etc/packages $(PACKAGES)

test-deps: deps
	@etc/packages $(TEST_PACKAGES)

## make test            all tests; the last line counts them
test: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD) all units
	@[ $$(id -u) != 0 ] || etc/users
	@tests/run --build $(BUILD) $(ONLY)

# What of the tests needs no root: in a chroot the leak checker can't look at a process's end, so these run once more with servers of an ordinary user.
LEAKS := e2e/test_attacks e2e/test_content e2e/test_dialog e2e/test_dkim e2e/test_evidence e2e/test_hop e2e/test_limits e2e/test_peers e2e/test_returns \
         e2e/test_route_login rule/
## make test-asan       the same under AddressSanitizer and UBSan
test-asan: test-deps
	@$(MAKE) -s -j$$(nproc) BUILD=$(BUILD)/asan SAN='$(SANITIZE)' OPT='-O1 -g' all units
	@[ $$(id -u) != 0 ] || etc/users
	@[ $$(id -u) != 0 ] || [ -n '$(ONLY)' ] || PORTER_AS=nobody tests/run --build $(BUILD)/asan --slow 4 $(LEAKS)
	@tests/run --build $(BUILD)/asan --slow 4 $(ONLY)

units: $(UNITS)

## make layers          the rooms and their arrows
layers:
	@tests/layers

## make clean           removes build/
clean:
	rm -rf $(BUILD)

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
	@chmod 755 $@                    # whatever the umask: its helpers run it as other users

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -Wno-missing-prototypes -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS) -lcmocka

-include $(OBJECTS:.o=.d) $(MAINS:%.c=$(BUILD)/%.d) $(UNITS:=.d)
include $(wildcard etc/make/*.mk)
