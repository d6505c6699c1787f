# shellcheck shell=bash
# The operator, by its chart, and clusters that it tends. Sourced by lib/scenario.
# shellcheck disable=SC2154
system=dynamo-system
helm=$(tool helm)
chart=$e2e/../charts/dynamo-operator

# In the operator's namespace.
ks() { "$kubectl" --namespace "$system" "$@"; }

# kubectl with the plugin, in the scenario's namespace, as a person calls it.
kd() { PATH=$(tools):$(dirname "$kubectl"):$PATH "$kubectl" dynamo --namespace "$namespace" "$@"; }

# Where `kubectl-dynamo` and `dynamo` are, as e2e/images/build left them.
tools() { echo "${DYNAMO_BINARIES:-${CARGO_TARGET_DIR:-$e2e/../target}/e2e}"; }

# The chart, with the images that were built; installed, or upgraded to what it says now. It stands on the control plane's
# machine, which no scenario hurts.
# shellcheck disable=SC2120  # scenarios give more arguments
operator_is_there() { # [HELM'S ARGUMENT...]
  "$kubectl" get namespace "$system" >/dev/null 2>&1 || {
    "$kubectl" create namespace "$system" >/dev/null
    "$kubectl" label namespace "$system" pod-security.kubernetes.io/enforce=restricted >/dev/null
  }
  local said
  said=$("$helm" upgrade --install dynamo-operator "$chart" --namespace "$system" --wait --timeout 180s \
    --set image.repository=dynamo-k8s/operator,image.tag=dev,image.pullPolicy=Never \
    --set nodeImage.repository=dynamo-k8s/node,nodeImage.version=dev \
    --set 'nodeSelector.node-role\.kubernetes\.io/control-plane=' \
    --set 'tolerations[0].key=node-role.kubernetes.io/control-plane,tolerations[0].operator=Exists' \
    "$@" 2>&1) || fails "helm: $said"
}

# An image gets another name on every machine.
image_also_called() { # IMAGE NAME
  docker tag "$1" "$2"
  "$(tool kind)" load docker-image --name "$DYNAMO_E2E_CLUSTER" "$2" >/dev/null 2>&1 || fails "$2 can't be loaded"
}

# cluster_applied NAME: a DynamoCluster with what standard input says of its spec, and what a small machine can bear.
cluster_applied() {
  applies <<Y
apiVersion: dynamo-k8s.io/v1alpha1
kind: DynamoCluster
metadata: {name: $1}
spec:
  partitions: 64
  zones: [{name: a}, {name: b}, {name: c}]
  resources: {requests: {cpu: 20m, memory: 64Mi}, limits: {memory: 512Mi}}
  config: {storage.cache_mib: "16", storage.memtable_mib: "8", storage.reserve_mib: "16"}
  buckets: [{name: witness-sloppy}, {name: witness-strict, sloppy: false}]
$(sed 's/^/  /')
Y
}

# cluster_begins NAME NODES: the operator is there, and a cluster with what standard input says of its spec; it serves, is
# settled, and a witness writes from now on.
cluster_begins() {
  # shellcheck disable=SC2119
  operator_is_there
  { echo "replicas: $2"; cat; } | cluster_applied "$1"
  wait_for 300 "$2 nodes serve, and nothing is left to do" has_nodes "$1" "$2"
  witness_begins "$1"
}

# cluster_edited NAME JSON: its spec is merged with that.
cluster_edited() { k patch dynamocluster "$1" --type merge -p "{\"spec\": $2}" >/dev/null || fails "the edit was refused: $2"; }

# has_condition NAME CONDITION True|False: of the spec as it is now. For wait_for.
has_condition() {
  k get dynamocluster "$1" -o json | jq -r --arg type "$2" --arg wanted "$3" '
    .status as $status | ([.status.conditions[]? | select(.type == $type)] | first) as $found
    | if .status.observedGeneration != .metadata.generation then "the operator has not seen the latest spec", halt_error(1)
      elif $found.status == $wanted then "ok"
      else "\($type) is \($found.status // "not told"): \($found.message // ""); \($status.summary // "no summary")", halt_error(1) end'
}

# Nothing is under way, and all is well: for wait_for.
is_settled() { # NAME
  local condition
  for condition in Available=True DataSafe=True RingSettled=True Progressing=False Degraded=False; do
    has_condition "$1" "${condition%=*}" "${condition#*=}" || return
  done
}

# has_nodes NAME NUMBER: so many serve, no other pod is there, and it is settled. For wait_for.
has_nodes() {
  local serving pods
  is_settled "$1" || return
  serving=$(k get dynamocluster "$1" -o jsonpath='{.status.readyReplicas}')
  pods=$(k get pods -l "dynamo-k8s.io/cluster=$1" -o name | wc -l)
  [ "${serving:-0} $pods" = "$2 $2" ] || { echo "${serving:-0} nodes serve, there are $pods pods, and $2 are wanted"; return 1; }
}

# degraded_for NAME REASON [WORDS]: a person is wanted, for that reason, and told so in words that have these. For wait_for.
degraded_for() {
  k get dynamocluster "$1" -o json | jq -r --arg reason "$2" --arg words "${3:-}" '
    ([.status.conditions[]? | select(.type == "Degraded")] | first) as $found
    | if $found.status == "True" and $found.reason == $reason and ($found.message | contains($words)) then $found.message
      else "Degraded is \($found.status // "not told"), \($found.reason // ""): \($found.message // "")", halt_error(1) end'
}

# event_told NAME REASON [WORDS]: there is an event of the cluster, in words that have these. For wait_for.
event_told() {
  local words
  words=$(k get events --field-selector "involvedObject.kind=DynamoCluster,involvedObject.name=$1,reason=$2" -o json |
    jq -r '.items[].message')
  [[ -n $words && $words == *"${3:-}"* ]] || { echo "no event $2 with '${3:-}'; what there is: $(tr '\n' ';' <<<"$words")"; return 1; }
}

# tells WORDS COMMAND...: what it prints has these words, however it ends. For wait_for.
tells() {
  local said words=$1
  shift
  said=$("$@" 2>&1) || true
  [[ $said == *"$words"* ]] || { echo "nothing of '$words', but: $(tail -n 3 <<<"$said" | tr '\n' ' ')"; return 1; }
}

# refused CODE WORDS COMMAND...: it ends with that code, or any but 0, and a sentence that has these words.
refused() {
  local code=0 said wanted=$1 words=$2
  shift 2
  said=$("$@" 2>&1 </dev/null) || code=$?
  [ "$code" -ne 0 ] || fails "'$*' was not refused, and said '$said'"
  [ "$wanted" = any ] || is "$code" "$wanted" "the exit code of '$*', which said '$said'"
  [[ $said == *"$words"* ]] || fails "'$*' said '$said', and nothing of '$words'"
}

# The claim of a node, and the pods of a cluster: which they are, not what they are called.
claim_of() { k get pvc "data-$1" -o jsonpath='{.metadata.uid}'; }
life_of() { k get pod "$1" -o jsonpath='{.metadata.uid}'; }
lives_of() { k get pods -l "dynamo-k8s.io/cluster=$1" -o jsonpath='{.items[*].metadata.uid}'; }

# What a node says of the cluster. Its pod has the bundle.
asked() { # POD COMMAND...
  local pod=$1
  shift
  k exec "$pod" -c node -- dynamo "$@" --tls-ca /etc/dynamo/trust/ca.crt
}

# What can be known of the operator when a scenario fails.
keep_operator() {
  local pod to=$1
  k get dynamoclusters,statefulsets,pods,pvc,pdb,services,configmaps,networkpolicies,controllerrevisions -o yaml >"$to/dynamo.yaml" 2>&1
  k describe dynamoclusters >"$to/dynamoclusters" 2>&1
  ks get all,leases,events -o wide >"$to/system" 2>&1
  for pod in $(ks get pods -o name 2>/dev/null); do
    ks logs "$pod" >"$to/system-${pod##*/}.log" 2>&1
    ks logs --previous "$pod" >"$to/system-${pod##*/}.before.log" 2>/dev/null || rm -f "$to/system-${pod##*/}.before.log"
  done
}
