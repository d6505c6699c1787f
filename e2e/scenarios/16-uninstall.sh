# shellcheck shell=bash disable=SC2154
# A cluster that keeps its data and is taken up again; one that leaves nothing; an operator and a definition that are uninstalled.
definition=dynamoclusters.dynamo-k8s.io
kinds=statefulsets,pods,services,configmaps,secrets,pdb,networkpolicies,serviceaccounts,pvc,servicemonitors,controllerrevisions
left() { k get $kinds -l dynamo-k8s.io/cluster=shop -o name; }
volumes_left() { "$kubectl" get pv -o json | jq -r --arg namespace "$namespace" '.items[] | select(.spec.claimRef.namespace == $namespace) | "persistentvolume/" + .metadata.name'; }
nothing_left() {
  local all
  all=$(left; volumes_left)
  [ -z "$all" ] || { echo "there are still: $(tr '\n' ' ' <<<"$all")"; return 1; }
}
# Volumes, who founded them, and the keys that go with them.
kept='^persistentvolumeclaim/|^configmap/shop-(founders|trust)$|^secret/shop-(ca|secret)$'
only_data_left() {
  local others
  others=$(left | grep -vE "$kept" | tr '\n' ' ' || true)
  [ -z "$others" ] || { echo "there are still: $others"; return 1; }
}
is_there() { k get "$1" -o name >/dev/null 2>&1 || { echo "there is no $1"; return 1; }; }
# What the Prometheus operator brings, as far as it concerns who makes such objects.
monitors_are_served() {
  undoes "$kubectl delete crd servicemonitors.monitoring.coreos.com"
  applies <<'Y'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  names: {kind: ServiceMonitor, listKind: ServiceMonitorList, plural: servicemonitors, singular: servicemonitor}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
Y
  "$kubectl" wait --for=condition=Established crd/servicemonitors.monitoring.coreos.com --timeout=60s >/dev/null
}

begins "three nodes that keep their data, and a witness; they want a ServiceMonitor, and nobody serves such"
operator_is_there
spec() { printf 'replicas: 3\nserviceMonitor: true\nstorage: {size: 1Gi, reclaim: {onDelete: %s}}\n' "$1" | cluster_applied shop; }
spec Retain
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
witness_begins shop
kd put greeting hello >/dev/null

begins "the operator is uninstalled: the nodes go on"
"$helm" uninstall dynamo-operator --namespace "$system" --wait >/dev/null
k get dynamocluster shop >/dev/null || fails "the cluster went with the operator"
is "$(kd get greeting)" hello "what kubectl dynamo get says"
witness_writes 100
# As docs/OPERATIONS.md says: what it made itself, and nothing else.
is "$(ks get secrets,leases -o name | grep -v sh.helm | sort | tr '\n' ' ')" "lease.coordination.k8s.io/dynamo-operator secret/dynamo-operator-signer " "what the operator left"
ks delete secret/dynamo-operator-signer lease/dynamo-operator >/dev/null
is "$(ks get all,serviceaccounts,roles,rolebindings -o name | grep -v serviceaccount/default || true)" "" "what else there is of it"
is "$("$kubectl" get clusterroles,clusterrolebindings -o name | grep dynamo || true)" "" "its rights"

begins "it is installed again, where ServiceMonitors are served meanwhile: one is made"
monitors_are_served
operator_is_there
wait_for 120 "there is a ServiceMonitor" is_there servicemonitor/shop
wait_for 120 "three nodes serve, and nothing is left to do" has_nodes shop 3
witness_writes 100

begins "the cluster is deleted: its volumes stay"
k delete dynamocluster shop >/dev/null
wait_for 180 "only what belongs to the data is left" only_data_left
is "$(k get pvc -l dynamo-k8s.io/cluster=shop -o name | wc -l)" 3 "volume claims"

begins "it is made again, and takes them up"
began=$SECONDS
spec Retain
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure taken-up-again-s $((SECONDS - began))
is "$(kd get greeting)" hello "what kubectl dynamo get says"
witness_writes 100
# Between the two there was nobody to write to: what was under way has an unknown end.
witness_ends
is "$(jq '.lost | length' <<<"$report")" 0 "acknowledged writes that were lost"
k delete pod witness --grace-period=0 --force >/dev/null 2>&1

begins "the definition is deleted, and all clusters with it; and this one leaves nothing"
cluster_edited shop '{"storage": {"reclaim": {"onDelete": "Delete"}}}'
wait_for 60 "it has seen that" is_settled shop
"$kubectl" delete crd $definition --timeout=120s >/dev/null
wait_for 180 "nothing is left" nothing_left

begins "the operator's chart brings the definition again, and clusters are founded as ever"
"$helm" uninstall dynamo-operator --namespace "$system" --wait >/dev/null
operator_is_there
is_there "crd/$definition" || fails "$definition is not there"
spec Delete
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
is "$(kd get greeting 2>/dev/null || echo nothing)" nothing "what there is of the former cluster's data"
k delete dynamocluster shop >/dev/null
wait_for 180 "nothing is left" nothing_left

# Whether ServiceMonitors are served an operator looks every ten minutes; this one would miss them.
"$helm" uninstall dynamo-operator --namespace "$system" --wait >/dev/null
