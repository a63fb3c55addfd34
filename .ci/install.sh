# What the scripts beside this one share. Its reader has set nothing but -euo pipefail.

# Where this run notes what is missing, for .ci/skipped.
notes=${SKIPPED:-$(dirname "${BASH_SOURCE[0]}")/../dist/.skipped}

# apt WHY PACKAGE... installs Debian's packages, or returns 1 where it may not or cannot.
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

# missing WHAT HOW notes what is skipped for want of something and how to get it. In CI, that is a failure.
missing() {
  echo "$1" >&2
  echo "  $2" >&2
  if [ -n "${CI:-}" ]; then exit 1; fi
  mkdir -p "$(dirname "$notes")"
  printf '%s\n  %s\n' "$1" "$2" >>"$notes"
}
