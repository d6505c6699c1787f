# shellcheck shell=bash
# Kubernetes, as scenarios use it. Sourced by lib/scenario, which has the cache and the namespace.
# shellcheck disable=SC2154
kubectl=$(tool kubectl)

# kubectl in the scenario's namespace.
k() { "$kubectl" --namespace "$namespace" "$@"; }

# The documents on standard input, with NAMESPACE, IMAGE_TAG and the like as they are in the environment.
applies() { k apply -f - >/dev/null || fails "kubectl apply"; }

namespace_comes() {
  namespace_goes "$1"
  "$kubectl" create namespace "$1" >/dev/null
  "$kubectl" label namespace "$1" pod-security.kubernetes.io/enforce=restricted >/dev/null
}

namespace_goes() {
  "$kubectl" delete namespace "$1" --ignore-not-found --timeout=180s >/dev/null || told "namespace $1 does not go"
}

# ready KIND/NAME REPLICAS: for wait_for.
ready() {
  local found
  found=$(k get "$1" -o jsonpath='{.status.readyReplicas}') || return
  [ "${found:-0}" = "$2" ] || { echo "$1: ${found:-0} of $2 pods are ready; $(first_trouble)"; return 1; }
}

# Why the first pod that is not ready is not.
first_trouble() {
  k get pods -o json | jq -r '[.items[] | select(all(.status.containerStatuses[]?; .ready) | not)
    | .metadata.name + ": " + ([.status.containerStatuses[]?.state | to_entries[] | .value.reason // .key]
      + [.status.conditions[]? | select(.status == "False") | .message // .reason] | map(select(. != null)) | unique | join(", "))]
    | first // "the pods are not made yet"'
}

# What can be known of a failure: objects, events, logs of this life and the one before, what each node says of itself.
keep_artefacts() {
  local pod to=$1
  mkdir -p "$to"
  k get all,pvc,configmap,pdb -o yaml >"$to/objects.yaml" 2>&1
  k get events --sort-by=.lastTimestamp >"$to/events" 2>&1
  "$kubectl" get nodes,pv -o wide >"$to/cluster" 2>&1
  for pod in $(k get pods -o name 2>/dev/null); do
    k logs --all-containers "$pod" >"$to/${pod##*/}.log" 2>&1
    k logs --all-containers --previous "$pod" >"$to/${pod##*/}.before.log" 2>/dev/null || rm -f "$to/${pod##*/}.before.log"
    case $pod in
      pod/witness) k exec witness -- dynamo-witness print /history/history >"$to/history" 2>/dev/null ;;
      *) k exec "$pod" -- dynamo status >"$to/${pod##*/}.status" 2>&1 ||
        asked "${pod##*/}" status >"$to/${pod##*/}.status" 2>&1 ;;
    esac
  done
}
