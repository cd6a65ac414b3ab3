#!/usr/bin/env bash
# Runs saejax's programs and tests in an environment of their own, which is made
# on first use. See ./launch.sh --help.
set -euo pipefail

ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
VENV="${SAEJAX_VENV:-$ROOT/.venv}"
LOCK="$VENV.lock"

usage() {
  cat <<EOF
Usage: ./launch.sh NAME [--flags]     runs a program
       ./launch.sh NAME --help        explains it
       ./launch.sh test [--parity]    runs the tests; --parity also those that
                                      compare with torch, which it installs
                                      (about 200 MB for CPU, more with CUDA)

Programs:
EOF
  for file in "$ROOT"/experiments/*.py; do
    local name
    name="$(basename "$file" .py)"
    [ "$name" = __init__ ] && continue
    printf '  %-18s %s\n' "$name" "$(sed -n '1s/^"""\(.*[^"]\)\("""\)\{0,1\}$/\1/p' "$file")"
  done
  cat <<EOF

Environment variables:
  SAEJAX_PYTHON=PYTHON   the Python (3.11 or later) that makes the environment
  SAEJAX_VENV=FOLDER     where the environment is [.venv beside this script]
  SAEJAX_ENV=active      use the Python on the PATH as it is; install nothing
  SAEJAX_NEED_BROWSER=1  fail, not skip, tests of the page without a browser

Many may start at once on one folder (srun, TPU pods): one makes the
environment while the others wait; processes join with --distributed.
EOF
}

die() {
  echo "$*" >&2
  exit 2
}

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${SAEJAX_PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  die "saejax needs Python 3.11 or later, found none: set SAEJAX_PYTHON to one."
}

# The extra of JAX that the accelerator here needs, if there is one.
jax_extra() {
  local vendor
  if [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; then
    echo 'jax[cuda]'
    return
  fi
  for vendor in /sys/bus/pci/devices/*/vendor; do
    [ -e "$vendor" ] && grep -q 0x1ae0 "$vendor" || continue
    # Google's TPUs, told from its other devices, by the ids that JAX knows.
    if grep -qE '0x00(27|56|5e|62|63|6f|76)' "${vendor%vendor}device"; then
      echo 'jax[tpu]'
      return
    fi
  done
}

# One at a time, of all processes of all machines that share the folder: mkdir
# is atomic on every file system, which locks of files are not.
lock() {
  local waited=0 owner
  mkdir -p "$(dirname "$VENV")"
  until mkdir "$LOCK" 2>/dev/null; do
    [ -d "$LOCK" ] || [ -w "$(dirname "$VENV")" ] ||
      die "$(dirname "$VENV") cannot be written to: set SAEJAX_VENV to a folder."
    # What a killed process of this machine left is taken down by one of us.
    if is_abandoned && mkdir "$LOCK/taken" 2>/dev/null; then
      if is_abandoned; then rm -rf "$LOCK"; else rmdir "$LOCK/taken"; fi
      continue
    fi
    if [ $((waited += 1)) = 300 ]; then
      owner="$(cat "$LOCK/owner" 2>/dev/null || true)"
      echo "Waiting for ${owner:-another process} to make $VENV. If it is no" \
        "more, delete $LOCK." >&2
    fi
    sleep 0.2
  done
  trap unlock EXIT
  trap 'exit 143' TERM
  echo "$(uname -n) $$" >"$LOCK/owner"
}

unlock() {
  rm -rf "$LOCK"
  trap - EXIT TERM
}

is_abandoned() {
  local host pid
  read -r host pid 2>/dev/null <"$LOCK/owner" || return 1
  # Another user's process cannot be signalled, but seen.
  [ "$host" = "$(uname -n)" ] && ! kill -0 "$pid" 2>/dev/null &&
    ! [ -d "/proc/$pid" ]
}

make_venv() {
  # None yet, or one that a killed set-up or an upgrade of Python left broken.
  local python
  python="$(find_python)"
  "$python" -m venv --clear "$VENV" ||
    die "$python cannot make an environment; on Debian, install python3-venv."
}

# Installs what the arguments name into the environment, once for each change.
install() {
  local name="$1" wanted stamp="$VENV/.saejax-$1"
  shift
  wanted="$(cat "$ROOT/requirements.txt" "$ROOT/tests/requirements.txt") $*"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
  lock
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    unlock
    return
  fi
  echo "Installing saejax's $name requirements (once, a minute or two) …" >&2
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
    die "The installation failed, see above. Run the same command to try again."
  printf '%s' "$wanted" >"$stamp"
  unlock
}

set_up() {
  if [ "${SAEJAX_ENV:-}" = active ]; then
    PYTHON="$(command -v python || command -v python3)"
    is_new_enough "$PYTHON" || die "SAEJAX_ENV=active: $PYTHON is older than 3.11."
    return
  fi
  PYTHON="$VENV/bin/python"
  if ! is_new_enough "$PYTHON"; then
    lock
    is_new_enough "$PYTHON" || make_venv
    unlock
  fi
  # shellcheck disable=SC2046  # No extra must be no argument.
  install core -r "$ROOT/requirements.txt" $(jax_extra)
}

run_tests() {
  local arguments=()
  for argument in "$@"; do
    if [ "$argument" = --parity ]; then
      if [ "${SAEJAX_ENV:-}" != active ]; then install parity torch==2.13.0; fi
    else
      arguments+=("$argument")
    fi
  done
  if [ "${SAEJAX_ENV:-}" != active ]; then
    install test -r "$ROOT/tests/requirements.txt"
  fi
  cd "$ROOT"
  exec "$PYTHON" -m pytest ${arguments[@]+"${arguments[@]}"}
}

# glibc hands every large buffer back to the system when it is freed, and the
# next step pays for its pages again: half the time of XLA on a CPU. These keep
# up to 1 GiB of freed memory, in huge pages. Elsewhere they are ignored.
export MALLOC_MMAP_THRESHOLD_="${MALLOC_MMAP_THRESHOLD_-1073741824}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_-1073741824}"
export GLIBC_TUNABLES="${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}"
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"

case "${1:-}" in
  '')
    usage >&2
    exit 2
    ;;
  -h | --help | help)
    usage
    ;;
  test)
    shift
    set_up
    run_tests "$@"
    ;;
  *)
    name="$1"
    shift
    [ -f "$ROOT/experiments/$name.py" ] && [ "$name" != __init__ ] ||
      die "There is no program '$name'. ./launch.sh --help lists them."
    set_up
    exec "$PYTHON" -m "experiments.$name" "$@"
    ;;
esac
