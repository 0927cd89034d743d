# Sourced by the scripts: where things are, how to say what is going on, and the steps that several of them have.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$root"
tools="$root/.tools"
# Node of the project first: wrangler wants 22.12 or newer, whatever the machine has.
export PATH="$root/node_modules/.bin:$tools/bin:$PATH"
export WRANGLER_SEND_METRICS=false

say() { printf '\033[1m[%s]\033[0m %s\n' "$(basename "$0")" "$*"; }
fail() { printf '\033[1m[%s] error:\033[0m %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Runs a command that writes into a log, which is only shown if the command fails.
logged() { # NAME COMMAND…
  local log="$tools/$1.log"
  shift
  mkdir -p "$tools"
  "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; return 1; }
}

# Whether the npm packages of a folder are those of its lock file.
is_installed() { cmp -s "$1/package-lock.json" "$1/node_modules/.installed-lock"; } # FOLDER

# Installs them if they are not.
npm_packages() { # FOLDER
  is_installed "$1" && return
  # Not `npm ci`: it insists that the lock file names the runtime's packages for every platform, and a registry that has
  # not got one of them for a platform that is not ours would stop us. The lock file is kept to all the same.
  (cd "$1" && npm install --no-audit --no-fund --loglevel=error) &&
    cp "$1/package-lock.json" "$1/node_modules/.installed-lock"
}

# Compiles the Worker to Wasm, and the program that makes the JavaScript around it. The two share no files, so that they can be
# compiled at the same time.
compile_worker() {
  cargo build --quiet -p gatehouse-bindgen &
  local bindgen=$!
  cargo build --quiet --release --target wasm32-unknown-unknown -p gatehouse && wait "$bindgen"
}
