# shellcheck shell=bash disable=SC2154
# An operator that has rights in one namespace alone: what it can't see it asks for, and a right that is taken away it names.
may() { "$kubectl" auth can-i "$@" --as="system:serviceaccount:$system:dynamo-operator" 2>/dev/null || true; }
# role_has RESOURCE VERB...: what the operator's Role gives on those from now on.
role_has() {
  local resource=$1
  shift
  k get role dynamo-operator -o json | jq --arg resource "$resource" --arg verbs "$*" \
    '(.rules[] | select(.resources == [$resource])).verbs = ($verbs | split(" "))' | k replace -f - >/dev/null || fails "the Role can't be edited"
  told "the operator may $* $resource"
}

begins "the operator, for this namespace alone"
operator_is_there --set "namespaces={$namespace}"
is "$(may patch statefulsets.apps -n "$namespace") $(may get secrets -n default) $(may list nodes) $(may list persistentvolumes) $(may list storageclasses)" \
  "yes no no no no" "rights on StatefulSets here, Secrets elsewhere, machines, volumes, storage classes"

begins "a cluster that does not say where its zones are: it is told what is missing"
applies <<'Y'
apiVersion: dynamo-k8s.io/v1alpha1
kind: DynamoCluster
metadata: {name: shop}
spec:
  replicas: 3
  partitions: 64
  storage: {size: 1Gi}
  resources: {requests: {cpu: 20m, memory: 64Mi}, limits: {memory: 512Mi}}
  config: {storage.cache_mib: "16", storage.memtable_mib: "8", storage.reserve_mib: "16"}
  buckets: [{name: witness-sloppy}, {name: witness-strict, sloppy: false}]
Y
wait_for 120 "it wants the zones named" degraded_for shop NoZone spec.zones
is "$(k get statefulsets -o name)" "" "StatefulSets before that"

begins "it does: three nodes, and a witness; then four"
cluster_edited shop '{"zones": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}'
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
witness_begins shop
k scale dynamocluster shop --replicas=4 >/dev/null
wait_for 300 "four nodes serve, and nothing is left to do" has_nodes shop 4

begins "the right to write StatefulSets is taken away: it is named, and nothing breaks"
role_has statefulsets get list watch
k scale dynamocluster shop --replicas=5 >/dev/null
wait_for 120 "it names verb, kind and object" degraded_for shop Forbidden 'statefulsets.apps "shop-b" is forbidden'
told "$(k get dynamocluster shop -o jsonpath='{.status.summary}')"
# Status is as old as the last look that succeeded.
is "$(k get dynamocluster shop -o jsonpath='{.status.conditions[?(@.type=="Available")].status}')" True "Available"
is "$(k get pods -l dynamo-k8s.io/cluster=shop -o name | wc -l)" 4 "pods"
witness_writes 100

begins "it is given back"
role_has statefulsets get list watch create update patch delete
wait_for 300 "five nodes serve, and nothing is left to do" has_nodes shop 5

begins "the right to look at pods is taken away, and given back"
role_has pods delete
ks rollout restart deployment dynamo-operator >/dev/null
ks rollout status deployment dynamo-operator --timeout=120s >/dev/null || told "it is not ready without that right"
wait_for 180 "it names what it may not look at" degraded_for shop Forbidden pods
witness_writes 100
role_has pods get list watch patch delete
wait_for 240 "five nodes serve, and nothing is left to do" has_nodes shop 5

begins "and less again: three"
k scale dynamocluster shop --replicas=3 >/dev/null
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
is "$(k get pvc -l dynamo-k8s.io/cluster=shop -o name | wc -l)" 3 "volume claims"

witness_ends
sloppy_holds 8 0

begins "the operator without a right outside of its namespace: certificates are somebody else's then"
k delete dynamocluster shop >/dev/null
operator_is_there --set "namespaces={$namespace},rbac.tokenReviews=false"
is "$(may create tokenreviews.authentication.k8s.io)" no "whether it may review tokens"
cluster_applied plain <<'Y' 2>/dev/null
replicas: 3
storage: {size: 1Gi}
tls: {mode: Plaintext}
Y
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes plain 3
kd -c plain put greeting hello >/dev/null
is "$(kd -c plain get greeting)" hello "what kubectl dynamo get says"
operator_is_there
