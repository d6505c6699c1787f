# shellcheck shell=bash
# The machines of the kind cluster, which are docker's containers: what happens to them. Sourced by lib/scenario. What is
# not mended by the scenario itself is mended by `heal`.
# shellcheck disable=SC2154
hurt=() cuts=() undo=()

# The worker of a zone.
worker_of() { "$kubectl" get nodes -l "topology.kubernetes.io/zone=$1" -o jsonpath='{.items[0].metadata.name}'; }

machine_dies() { hurt+=("$1"); docker kill "$1" >/dev/null; told "killed $1"; }
machine_returns() { docker start "$1" >/dev/null; told "started $1"; }
# A control group with processes that come and go all the time is not always frozen at the first try (control groups, version 1).
machine_pauses() {
  hurt+=("$1")
  for _ in $(seq 20); do
    if docker pause "$1" >/dev/null 2>&1; then told "paused $1"; return; fi
    sleep 0.5
  done
  docker pause "$1" >/dev/null
}
machine_goes_on() { docker unpause "$1" >/dev/null; told "$1 goes on"; }

machine_is_not_ready() {
  local ready
  ready=$("$kubectl" get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')
  [ "$ready" != True ] || { echo "$1 is ready, as Kubernetes sees it"; return 1; }
}

# All processes of that name on a machine.
process_stands_still() { undoes "process_goes_on $1 $2"; docker exec "$1" pkill -STOP -x "$2"; told "stopped $2 on $1"; }
process_goes_on() { docker exec "$1" pkill -CONT -x "$2"; told "$2 on $1 goes on"; }

# The control plane's machine takes the part of one more worker.
machine_is_of_zone() { # MACHINE ZONE
  "$kubectl" label node "$1" "topology.kubernetes.io/zone=$2" >/dev/null
  "$kubectl" taint node "$1" node-role.kubernetes.io/control-plane- >/dev/null
  told "$1 is of zone $2"
}
machine_is_no_zone() {
  "$kubectl" label node "$1" topology.kubernetes.io/zone- >/dev/null
  "$kubectl" taint node "$1" node-role.kubernetes.io/control-plane:NoSchedule --overwrite >/dev/null
}

# undoes COMMAND: what `heal` does beside the rest.
undoes() { undo+=("$1"); }

pods_cidr_of() { "$kubectl" get node "$1" -o jsonpath='{.spec.podCIDR}'; }

# Pods on one machine and pods on another exchange nothing from now on.
machines_are_cut() {
  local one other
  one=$(pods_cidr_of "$1") other=$(pods_cidr_of "$2")
  cuts+=("$1 $one $other")
  docker exec "$1" iptables -I FORWARD -s "$one" -d "$other" -j DROP
  docker exec "$1" iptables -I FORWARD -s "$other" -d "$one" -j DROP
  told "cut $1 off from $2"
}

cut_heals() { # MACHINE ITS-PODS THE-OTHERS
  docker exec "$1" iptables -D FORWARD -s "$2" -d "$3" -j DROP
  docker exec "$1" iptables -D FORWARD -s "$3" -d "$2" -j DROP
}

# A machine that was taken out of Kubernetes comes back with other addresses for its pods, and its network plugin knows the former:
# pods there would be reached by those machines alone that have not restarted since. What is away is written anew (kind/manifests).
addresses_are_its_own() { # MACHINE
  docker exec "$1" sh -c "grep -qF '$(pods_cidr_of "$1")' /etc/cni/net.d/10-ptp.conflist || rm -f /etc/cni/net.d/10-ptp.conflist"
}

# Everything that was done to machines is undone, and they are ready.
heal() {
  local cut machine command
  for command in "${undo[@]}"; do
    # shellcheck disable=SC2086  # words
    $command >/dev/null 2>&1 || told "not undone, or not any more: $command"
  done
  undo=()
  for cut in "${cuts[@]}"; do
    # shellcheck disable=SC2086  # three words
    cut_heals $cut 2>/dev/null || told "the cut ($cut) is not there any more"
  done
  for machine in "${hurt[@]}"; do
    # Of which one is wrong: it is down, or it stands still, or neither.
    docker unpause "$machine" >/dev/null 2>&1 || true
    docker start "$machine" >/dev/null 2>&1 || true
  done
  cuts=()
  # One that was taken out of Kubernetes comes back by itself.
  for machine in "${hurt[@]}"; do
    for _ in $(seq 60); do "$kubectl" get node "$machine" >/dev/null 2>&1 && break; sleep 2; done
  done
  for machine in "${hurt[@]}"; do addresses_are_its_own "$machine"; done
  [ ${#hurt[@]} -eq 0 ] || "$kubectl" wait --for=condition=Ready node --all --timeout=180s >/dev/null
  hurt=()
}
