# Sourced by the scripts: paths, messages, and the steps that several scripts share.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$root"
tools="$root/.tools"
# The project's Node first: wrangler needs 22.12 or newer, and the machine may have an older one.
export PATH="$root/node_modules/.bin:$tools/bin:$PATH"
export WRANGLER_SEND_METRICS=false

say() { printf '\033[1m[%s]\033[0m %s\n' "$(basename "$0")" "$*"; }
fail() { printf '\033[1m[%s] error:\033[0m %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# A program that writes to it as root can replace the null device by a file. Cargo then takes that file for its input.
[ -c /dev/null ] ||
  fail "/dev/null is a file and not a device. As root: rm /dev/null && mknod -m 666 /dev/null c 1 3"

# Runs a command with its output in a log, which is shown only if the command fails.
logged() { # NAME COMMAND…
  local log="$tools/$1.log"
  shift
  mkdir -p "$tools"
  "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; return 1; }
}

# True if the npm packages of a folder are those of its lock file.
is_installed() { cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock"; } # FOLDER

# Installs the npm packages of a folder if they are not.
npm_packages() { # FOLDER
  is_installed "$1" && return
  # Not `npm ci`: it requires the lock file's packages for every platform, and fails if a registry lacks one for a
  # platform that is not ours. The installation follows the lock file anyway.
  local before
  before="$(cksum <"$1/package-lock.json")"
  (cd "$1" && npm install --no-save --no-audit --no-fund --loglevel=error) || return
  if [ "$(cksum <"$1/package-lock.json")" != "$before" ]; then
    echo "npm install has changed $1/package-lock.json: what was installed is not what is pinned" >&2
    return 1
  fi
  cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}

# Compiles the Worker to Wasm, and the program that generates its JavaScript. The two share no files, so they can be
# compiled at the same time.
#
# The Wasm holds the paths of its sources, for the messages of panics. The folders before them are replaced, so that the
# same commit has the same bytes on every machine.
compile_worker() {
  cargo build --quiet -p gatehouse-bindgen &
  local bindgen=$!
  local flags=()
  flags+=(--remap-path-prefix "${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates")
  flags+=(--remap-path-prefix "$(rustc --print sysroot)/lib/rustlib/src/rust=/rust")
  flags+=(--remap-path-prefix "$root=/gatehouse")
  # Added to the flags of .cargo/config.toml.
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="${flags[*]}" \
    cargo build --quiet --release --target wasm32-unknown-unknown -p gatehouse && wait "$bindgen"
}
