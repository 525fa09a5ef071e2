# Installing. With DESTDIR no user is made and nothing is started: that is the packager's part.
BIN   := $(DESTDIR)$(PREFIX)/sbin
PARTS := $(DESTDIR)$(PREFIX)/libexec/porter
MAN   := $(DESTDIR)$(PREFIX)/share/man
CONF  := $(DESTDIR)$(SYSCONF)
UNIT  := $(DESTDIR)/lib/systemd/system

# The programs of porterd's processes: porterd finds them in ../libexec/porter, seen from itself (ctl/programs.c).
PART_BINARIES := $(filter $(BUILD)/porterd-%,$(BINARIES))
BIN_BINARIES  := $(filter-out $(PART_BINARIES),$(BINARIES))

## make install         into DESTDIR/PREFIX (/usr/local), configuration in /etc/porter
install: all
	install -d $(BIN) $(PARTS) $(MAN)/man5 $(MAN)/man8 $(CONF) $(UNIT) $(DESTDIR)$(PREFIX)/share/doc/porter
	install -m 755 $(BIN_BINARIES) $(BIN)
	install -m 755 $(PART_BINARIES) $(PARTS)
	rm -f $(addprefix $(BIN)/,$(notdir $(PART_BINARIES))) # where they lay before: nobody would execute them, nor take them away
	ln -sf sendmail $(BIN)/newaliases
	ln -sf sendmail $(BIN)/mailq
	for page in $(wildcard etc/man/*.5); do install -m 644 $$page $(MAN)/man5; done
	for page in $(wildcard etc/man/*.8); do install -m 644 $$page $(MAN)/man8; done
	$(BUILD)/porterctl settings --man > $(MAN)/man5/porter.conf.5
	$(BUILD)/porterctl help --man > $(MAN)/man8/porterctl.8
	install -m 644 README.md LICENSE $(DESTDIR)$(PREFIX)/share/doc/porter
	for file in etc/examples/*; do [ -e $(CONF)/$${file##*/} ] || install -m $$([ $${file##*/} = credentials ] && echo 600 || echo 644) $$file $(CONF); done
	for unit in porter.service porter-sync.service porter-sync.timer; do sed 's,@SBIN@,$(PREFIX)/sbin,; s,@CONF@,$(SYSCONF),' etc/$$unit > $(UNIT)/$$unit; done
	install -d -m 755 $(DESTDIR)$(STATE)
	[ -n "$(DESTDIR)" ] || etc/users

## make uninstall       the binaries, pages and unit; configuration and mail stay
uninstall:
	rm -f $(addprefix $(BIN)/,$(notdir $(BIN_BINARIES)) newaliases mailq) $(MAN)/man5/porter.conf.5 $(MAN)/man8/porterctl.8 $(addprefix $(UNIT)/,porter.service porter-sync.service porter-sync.timer)
	rm -f $(addprefix $(MAN)/man5/,$(notdir $(wildcard etc/man/*.5))) $(addprefix $(MAN)/man8/,$(notdir $(wildcard etc/man/*.8)))
	rm -rf $(PARTS) $(DESTDIR)$(PREFIX)/share/doc/porter
