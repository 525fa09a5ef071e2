## make test-page       the RNDR check page in a real headless Chromium (installs it), with axe-core where the npm registry is reached
.PHONY: test-page
test-page: test-deps all
	@etc/packages chromium chromium-driver fonts-liberation
	@[ -e $(BUILD)/npm/node_modules/axe-core/axe.min.js ] || { mkdir -p $(BUILD)/npm && npm install --silent --no-audit --no-fund --prefix $(BUILD)/npm axe-core; } || true
	@tests/run --build $(BUILD) e2e/test_page

$(BUILD)/ctl/web_advice.o: $(wildcard etc/advice/*.txt)
