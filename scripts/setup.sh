# Sourced by the scripts: what all of them need. The caller has set `-euo pipefail`.

repository=$(dirname "$(dirname "$(readlink --canonicalize "${BASH_SOURCE[0]}")")")
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/grovefs/target}"
# The binaries the scripts start.
bin="$CARGO_TARGET_DIR/release"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$(basename "$0"): $*"
    exit 1
}

# Installs the Debian packages that are missing.
need_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep --quiet ' installed$' ||
            missing+=("$package")
    done
    [[ ${#missing[@]} -eq 0 ]] && return
    say "installing ${missing[*]}"
    [[ $(id --user) -eq 0 ]] || die "these packages are missing, and only root can install them: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}"
}

need_cargo() {
    command -v cargo >/dev/null || die "cargo is missing; https://rustup.rs installs it (Rust 1.95 or newer)"
}

# What compiling RocksDB and mounting need.
need_build() {
    need_packages build-essential clang libclang-dev pkg-config fuse3
    need_cargo
}

# Test suites from crates.io, in versions that are known to pass.
tools="$CARGO_TARGET_DIR/suites"
need_suites() {
    cargo install --quiet --locked --root "$tools" --target-dir "$CARGO_TARGET_DIR/suites/build" pjdfstest@0.2.2 fsx@0.3.2
}

build_release() {
    need_build
    cargo build --quiet --manifest-path "$repository/Cargo.toml" --release --package mds --package client-fuse
}

# Waits until a command succeeds: wait_until SECONDS COMMAND…
wait_until() {
    local seconds=$1 deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}
