#!/bin/sh
# Get a browser for test/web on a machine that has none, where that is allowed and quick. Never fails: without a
# browser those tests are skipped, and say so.
have_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name" > /dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}
if have_browser; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null 2>&1; then
    echo "[browser] none found; the tests of the web page will be skipped. Remedy: install chromium"
    exit 0
fi
echo "[browser] none found: apt-get install -y chromium (at most 4 minutes)"
if ! DEBIAN_FRONTEND=noninteractive timeout 240 sh -c \
    'apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium' > /dev/null 2>&1; then
    echo "[browser] chromium could not be installed; the tests of the web page will be skipped"
fi
exit 0
