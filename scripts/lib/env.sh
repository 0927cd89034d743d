# Sourced by the scripts: where things are, and how to say what is going on. Installs nothing.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$root"
tools="$root/.tools"
# Node of the project first: wrangler wants 22.12 or newer, whatever the machine has.
export PATH="$root/node_modules/.bin:$tools/bin:$PATH"
export WRANGLER_SEND_METRICS=false

say() { printf '\033[1m[%s]\033[0m %s\n' "$(basename "$0")" "$*"; }
fail() { printf '\033[1m[%s] error:\033[0m %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
