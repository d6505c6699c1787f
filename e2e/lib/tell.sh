# shellcheck shell=bash
# What a stranger reads while a scenario runs, and how it waits and fails. Sourced by lib/scenario.
# shellcheck disable=SC2154

told() { printf '%s    %s\n' "$(date +%T)" "$*" >&2; }

# begins WHAT: the next part of a scenario.
begins() { printf '%s  - %s\n' "$(date +%T)" "$*" >&2; }

fails() { printf '%s    FAILED: %s\n' "$(date +%T)" "$*" >&2; exit 1; }

# wait_for SECONDS WHAT COMMAND...: until the command succeeds. Its last line says why it does not yet: it is told when it
# changes, and when time is up.
wait_for() {
  local seconds=$1 what=$2 until=$((SECONDS + $1)) why='' before='' began=$SECONDS
  shift 2
  while ! why=$("$@" 2>&1 | tail -n 1; exit "${PIPESTATUS[0]}"); do
    [ "$SECONDS" -lt "$until" ] || fails "not within $seconds s: $what (${why:-no reason was given})"
    [ "$why" = "$before" ] || told "waiting: ${why:-$what}"
    before=$why
    sleep 1
  done
  told "$what (after $((SECONDS - began)) s)"
}

# figure NAME VALUE: what docs/BENCHMARKS.md may want to know.
figure() { printf 'figure %s.%s %s\n' "${namespace#e2e-}" "$1" "$2"; }

# is ACTUAL EXPECTED WHAT
is() { [ "$1" = "$2" ] || fails "$3: expected $2, found $1"; }

# at_most ACTUAL LIMIT WHAT
at_most() { [ "${1%.*}" -le "$2" ] || fails "$3: $1, and at most $2 was expected"; }
