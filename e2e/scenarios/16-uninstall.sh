# shellcheck shell=bash disable=SC2154
# A cluster that is deleted and leaves nothing; one that keeps its data and is taken up again; an operator that is uninstalled.
left() { k get statefulsets,pods,services,configmaps,secrets,pdb,networkpolicies,serviceaccounts,pvc -l dynamo-k8s.io/cluster=shop -o name; }
nothing_left() { [ -z "$(left)" ] || { echo "there are still: $(left | tr '\n' ' ')"; return 1; }; }
# Volumes, who founded them, and the keys that go with them.
kept='^persistentvolumeclaim/|^configmap/shop-(founders|trust)$|^secret/shop-(ca|secret)$'
only_data_left() {
  local others
  others=$(left | grep -vE "$kept" | tr '\n' ' ' || true)
  [ -z "$others" ] || { echo "there are still: $others"; return 1; }
}

begins "three nodes that keep their data"
operator_is_there
spec() { printf 'replicas: 3\nstorage: {size: 1Gi, reclaim: {onDelete: %s}}\n' "$1" | cluster_applied shop; }
spec Retain
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
kd put greeting hello >/dev/null

begins "the operator is uninstalled: the nodes go on"
"$helm" uninstall dynamo-operator --namespace "$system" --wait >/dev/null
k get dynamocluster shop >/dev/null || fails "the cluster went with the operator"
is "$(kd get greeting)" hello "what kubectl dynamo get says"
operator_is_there
wait_for 120 "three nodes serve, and nothing is left to do" has_nodes shop 3

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

begins "it is deleted, and leaves nothing"
cluster_edited shop '{"storage": {"reclaim": {"onDelete": "Delete"}}}'
wait_for 60 "it has seen that" is_settled shop
k delete dynamocluster shop >/dev/null
wait_for 180 "nothing is left" nothing_left
