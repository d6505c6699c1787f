# shellcheck shell=bash
# What the scripts here share: versions, the cache, steps with logs, and which tools are used. Sourced.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions
. "$here/versions"
cache=${DYNAMO_KIND_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dynamo-kind}
bin=$cache/bin

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# step NAME VERSION COMMAND...: runs it with its output in a log, unless it was done for this version already. What was
# begun and not finished has no stamp, so that it begins anew.
step() {
  local name=$1 version=$2 rc=0 log=$cache/log/$1.log stamp=$cache/stamps/$1
  shift 2
  [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && return
  mkdir -p "$cache/log" "$cache/stamps"
  rm -f "$stamp"
  say "$name"
  local began=$SECONDS
  # A subshell of its own kind: `set -e` holds in it, whatever this function was called from.
  set +e; (set -e; "$@") >"$log" 2>&1 </dev/null; rc=$?; set -e
  if [ $rc -ne 0 ]; then
    tail -n 15 "$log" >&2
    die "$name failed (exit code $rc); all of its output: $log"
  fi
  printf %s "$version" >"$stamp"
  say "$name: done in $((SECONDS - began)) s"
}

# Only one build at a time: others wait, and then find it done.
lock() {
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock -n 9 || { say "another build is under way: waiting for it"; flock 9; }
}

minor() { sed -n 's/.*v\{0,1\}[0-9][0-9]*\.\([0-9][0-9]*\)\..*/\1/p' <<<"$1" | head -1; }

# Whether the tool that is on the PATH already can be used with what is built here.
fits() { # TOOL
  local version
  case $1 in
    # kubectl works with an API server that is one minor version older or newer.
    kubectl)
      version=$(kubectl version --client 2>/dev/null | sed -n 's/^Client Version: //p')
      local difference=$(($(minor "${version:-v0.0.0}") - $(minor "v$KUBERNETES")))
      [ "${difference#-}" -le 1 ] ;;
    # A node image is made for one kind; a given image is the giver's matter.
    kind)
      version=$(kind version 2>/dev/null | grep -o 'v[0-9.]*' | head -1)
      [ -n "$version" ] && { [ -n "${DYNAMO_KIND_IMAGE:-}" ] || [ "$(minor "$version")" = "$(minor "$KIND")" ]; } ;;
    helm) helm version --short 2>/dev/null | grep -qE '^v(3\.1[4-9]|3\.[2-9][0-9]|4)\b' ;;
  esac
}

# Which tool is used: the PATH's where there is one that fits, else the one that is built here.
tool() { # TOOL
  local found
  found=$(PATH=${PATH//$bin:/} command -v "$1" || true)
  if [ -n "$found" ] && PATH=$(dirname "$found"):$PATH fits "$1"; then echo "$found"; else echo "$bin/$1"; fi
}
