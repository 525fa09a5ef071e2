# Our client alone, for the vector suites that play a server.
$(BUILD)/vectors/client_driver: tests/vectors/client_driver.c $(BUILD)/libporter.a
	@mkdir -p $(@D)
	@echo "  cc $<"
	@$(CC) $(CFLAGS) -MMD -MP -o $@ $< $(BUILD)/libporter.a $(LDFLAGS) $(LDLIBS)

-include $(BUILD)/vectors/client_driver.d
units: $(BUILD)/vectors/client_driver
