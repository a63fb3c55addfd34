# Functions for the other scripts in this folder, which set -euo pipefail.

# The file with notes about skipped tests, for .ci/skipped.
notes=${SKIPPED:-$(dirname "${BASH_SOURCE[0]}")/../dist/.skipped}

# apt WHY PACKAGE... installs Debian packages, or returns 1 if it cannot or must not.
apt() {
  local why=$1
  shift
  if [ "${INSTALL:-yes}" = no ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return 1; fi
  echo "Installing $* by apt-get: $why."
  export DEBIAN_FRONTEND=noninteractive
  export RUNLEVEL=1 # installs services without starting them
  apt-get update -q
  apt-get install -q -y --no-install-recommends "$@"
}

# missing WHAT HOW notes what is skipped because a tool is missing, and how to install it. In CI, it fails.
missing() {
  echo "$1" >&2
  echo "  $2" >&2
  if [ -n "${CI:-}" ]; then exit 1; fi
  mkdir -p "$(dirname "$notes")"
  printf '%s\n  %s\n' "$1" "$2" >>"$notes"
}
