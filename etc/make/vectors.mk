# Our client alone, for the vector suites that play a server.
$(BUILD)/vectors/client_driver: tests/vectors/client_driver.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)

-include $(BUILD)/vectors/client_driver.d
units: $(BUILD)/vectors/client_driver

# SASLprep alone, beside Python's tables.
$(BUILD)/vectors/saslprep: tests/vectors/saslprep.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)

-include $(BUILD)/vectors/saslprep.d
units: $(BUILD)/vectors/saslprep
