# What the scripts share: finding and installing the tools they need. Sourced, never run.
#
# Everything that is not a Debian package or a Rust tool stays inside the ignored folder `.tools/`.

CORDBOARD_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PYTHON_TOOLS="$CORDBOARD_ROOT/.tools/python"
NODE_TOOLS="$CORDBOARD_ROOT/.tools/node"

# The Python packages of the tests, pinned. aiortc plays WhatsApp's side, pesq judges the sound, sipvicious
# attacks, schemathesis asks the API what its description promises.
PYTHON_PACKAGES=(aiortc==1.16.0 numpy==2.3.5 schemathesis==4.32.5 sipvicious==0.3.8)
# pesq comes as source and wants these at build time; numpy's version is that of the line above.
PESQ_BUILD_PACKAGES=(setuptools==80.9.0 wheel==0.45.1 cython==3.2.1)
PESQ_PACKAGE=pesq==0.0.4
# The browser phone of the tests; Debian's Chromium runs it.
NODE_PACKAGES=(jssip@3.13.8)
NEXTEST_VERSION=0.9.143
CARGO_FUZZ_VERSION=0.13.2

# Says what happens next, in one line on stderr: stdout stays free for reports.
say() {
    printf '\033[1m==>\033[0m %s\n' "$*" >&2
}

# Ends the script: what is missing, and what to do about it.
give_up() {
    printf 'error: %s\n' "$*" >&2
    exit 69
}

# Installs the Debian packages that are not there yet. Root is needed only if one is missing.
need_apt() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        return 0
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || give_up "run this once as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    # A program that only the tests use must not be started as a daemon of this machine.
    "${as_root[@]}" apt-get update -q >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

# What compiling the gateway takes: cmake and a C compiler, for libopus and aws-lc.
need_build_packages() {
    need_apt build-essential cmake pkg-config ca-certificates curl git
    command -v cargo >/dev/null || give_up "no Rust toolchain: install rustup from https://rustup.rs (Rust 1.95 or later)"
}

# The real programs of the tests and the demo: a phone, a caller, a PBX, speech, Prometheus, a namespace of its own.
need_peer_packages() {
    need_apt baresip-core sip-tester kamailio kamailio-tls-modules kamailio-websocket-modules espeak-ng sox opus-tools prometheus iproute2 nftables dnsmasq-base python3-minimal openssl
}

# A Python with aiortc, pesq and numpy in `.tools/python`; afterwards `$PYTHON_TOOLS/bin/python` runs it.
need_python_tools() {
    local stamp="$PYTHON_TOOLS/.installed" wanted="${PYTHON_PACKAGES[*]} ${PESQ_PACKAGE}"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    need_apt python3-venv python3-dev build-essential
    say "installing Python tools: $wanted"
    rm -rf "$PYTHON_TOOLS"
    mkdir -p "$(dirname "$PYTHON_TOOLS")"
    /usr/bin/python3 -m venv "$PYTHON_TOOLS"
    local pip=("$PYTHON_TOOLS/bin/python" -m pip --quiet --disable-pip-version-check install)
    "${pip[@]}" "${PYTHON_PACKAGES[@]}" "${PESQ_BUILD_PACKAGES[@]}" >&2
    "${pip[@]}" --no-build-isolation "$PESQ_PACKAGE" >&2
    printf '%s' "$wanted" >"$stamp"
}

# JsSIP in `.tools/node`, and Chromium; npm only fetches, nothing of what it fetches is run at installation.
need_browser_tools() {
    local stamp="$NODE_TOOLS/.installed" wanted="${NODE_PACKAGES[*]}"
    need_apt chromium
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    command -v npm >/dev/null || need_apt npm
    say "installing browser tools: $wanted"
    rm -rf "$NODE_TOOLS"
    mkdir -p "$NODE_TOOLS"
    npm install --prefix "$NODE_TOOLS" --no-save --ignore-scripts --no-audit --no-fund --loglevel error "${NODE_PACKAGES[@]}" >&2
    printf '%s' "$wanted" >"$stamp"
}

# cargo-nextest, the test runner; without it `cargo test` does the same, slower and less readably.
need_cargo_tools() {
    if cargo nextest --version >/dev/null 2>&1; then
        return 0
    fi
    say "installing cargo-nextest $NEXTEST_VERSION (a few minutes, once)"
    cargo install --locked --version "$NEXTEST_VERSION" cargo-nextest >&2 || say "cargo-nextest could not be installed; using cargo test"
}

# cargo-fuzz, which builds and runs the fuzz targets.
need_fuzz_tools() {
    if cargo fuzz --version >/dev/null 2>&1; then
        return 0
    fi
    say "installing cargo-fuzz $CARGO_FUZZ_VERSION (a few minutes, once)"
    cargo install --locked --version "$CARGO_FUZZ_VERSION" cargo-fuzz >&2
}

# Compiles the gateway with the dev profile; prints the path of the program on stdout.
build_cordboard() {
    say "building cordboard (the first time takes minutes)"
    (cd "$CORDBOARD_ROOT" && cargo build --locked --bin cordboard) >&2
    printf '%s\n' "${CARGO_TARGET_DIR:-$CORDBOARD_ROOT/target}/debug/cordboard"
}
