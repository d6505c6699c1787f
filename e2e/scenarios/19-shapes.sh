# shellcheck shell=bash disable=SC2154
# One node, weights, zones that come and go; and specs that can't be done: each says why, and the spec put right gets through.
tokens_of() { k get dynamocluster mixed -o jsonpath="{.status.nodes[?(@.name=='$1')].tokens}"; }
nothing_of() { # CLUSTER: for wait_for
  local left
  left=$(k get statefulsets,pods,pvc -l "dynamo-k8s.io/cluster=$1" -o name | tr '\n' ' ')
  [ -z "$left" ] || { echo "there are still: $left"; return 1; }
}
zone_is_gone() { # ZONE: for wait_for
  local left
  left=$(k get statefulsets,pods,pvc -l "dynamo-k8s.io/cluster=mixed,dynamo-k8s.io/zone=$1" -o name | tr '\n' ' ')
  [ -z "$left" ] || { echo "there are still: $left"; return 1; }
  has_nodes mixed 3
}

begins "the example of a single node, as it is written"
operator_is_there
k apply -f "$e2e/../manifests/examples/single-node.yaml" >/dev/null
wait_for 300 "one node serves, and nothing is left to do" has_nodes dev 1
kd -c dev put greeting hello >/dev/null
pod=$(life_of dev-dev-0)
kd -c dev restart >/dev/null
another_life() { [ "$(life_of dev-dev-0)" != "$pod" ] || { echo "dev-dev-0 was not restarted; $(kd -c dev why | tr '\n' ' ')"; return 1; }; has_nodes dev 1; }
wait_for 180 "it has restarted, though it is the only one" another_life
is "$(kd -c dev get greeting)" hello "what the single node says"
k delete -f "$e2e/../manifests/examples/single-node.yaml" >/dev/null
wait_for 180 "it has left nothing" nothing_of dev

begins "three zones, of which one weighs twice as much, and a witness"
cluster_applied mixed <<'Y' 2>/dev/null
replicas: 3
storage: {size: 1Gi}
replication: {factor: 2}
Y
cluster_edited mixed '{"zones": [{"name": "a", "weight": 2}, {"name": "b"}, {"name": "c"}]}'
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes mixed 3
is "$(tokens_of mixed-a-0)" "$(($(tokens_of mixed-b-0) + $(tokens_of mixed-c-0)))" "tokens of mixed-a-0, and of both others"
witness_begins mixed

begins "zone c is taken out: its node hands over and goes, with its volume and its StatefulSet"
cluster_edited mixed '{"zones": [{"name": "a", "weight": 2}, {"name": "b"}]}'
wait_for 300 "nothing of zone c is left, and three nodes serve" zone_is_gone c
wait_for 30 "an event says so" event_told mixed ZoneRemoved
is "$(k get pods -l dynamo-k8s.io/cluster=mixed -o json | jq -r '[.items[].metadata.name] | sort | join(" ")')" "mixed-a-0 mixed-a-1 mixed-b-0" "the pods"
witness_writes 100

begins "a zone whose storage class is not there: told, and the others go on"
cluster_edited mixed '{"zones": [{"name": "a", "weight": 2}, {"name": "b"},
  {"name": "d", "nodeLabelValue": "c", "storage": {"size": "2Gi", "storageClassName": "not-there"}}]}'
wait_for 180 "it is told which class is missing" degraded_for mixed StorageClassMissing not-there
witness_writes 100
wait_for 30 "every key can be read and written still" has_condition mixed Available True

begins "another zone in its place, with a class that is there and larger volumes"
class=$("$kubectl" get storageclass -o jsonpath='{.items[0].metadata.name}')
cluster_edited mixed '{"zones": [{"name": "a", "weight": 2}, {"name": "b"},
  {"name": "e", "nodeLabelValue": "c", "storage": {"size": "2Gi", "storageClassName": "'"$class"'"}}]}'
wait_for 300 "nothing of zone d is left, and three nodes serve" zone_is_gone d
is "$(k get pvc -l dynamo-k8s.io/cluster=mixed -o json | jq -r '[.items[] | .metadata.name + " " + .spec.resources.requests.storage] | sort | join(", ")')" \
  "data-mixed-a-0 1Gi, data-mixed-b-0 1Gi, data-mixed-e-0 2Gi" "the claims"

begins "a zone that no machine is of: told, and taken out again"
cluster_edited mixed '{"zones": [{"name": "a", "weight": 2}, {"name": "b"}, {"name": "e", "nodeLabelValue": "c",
  "storage": {"size": "2Gi", "storageClassName": "'"$class"'"}}, {"name": "nowhere"}], "replication": {"factor": 2}, "replicas": 4}'
wait_for 180 "it is told that it has no machine" degraded_for mixed NoHostIn nowhere
cluster_edited mixed '{"zones": [{"name": "a", "weight": 2}, {"name": "b"}, {"name": "e", "nodeLabelValue": "c",
  "storage": {"size": "2Gi", "storageClassName": "'"$class"'"}}], "replicas": 3}'
wait_for 240 "nothing of it is left, and three nodes serve" zone_is_gone nowhere

begins "pods that no machine has room for: the first says so, the others are left alone, and the spec put right gets through"
cluster_edited mixed '{"resources": {"requests": {"memory": "4000Gi"}, "limits": {"memory": "4000Gi"}}}'
no_room() { k get dynamocluster mixed -o jsonpath='{.status.conditions[?(@.type=="Degraded")].status} {.status.conditions[?(@.type=="Degraded")].message}'; }
wait_for 240 "it is told what is short" tells "nsufficient memory" no_room
[[ $(no_room) == True* ]] || fails "Degraded is $(no_room)"
is "$(k get pods -l dynamo-k8s.io/cluster=mixed -o json | jq '[.items[] | select(.status.phase == "Pending")] | length')" 1 "pods that have no machine"
witness_writes 100
cluster_edited mixed '{"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "512Mi"}}}'
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes mixed 3

witness_ends
sloppy_holds 8 0
