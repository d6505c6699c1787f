# shellcheck shell=bash disable=SC2154
# All pods are deleted at once, first with the operator and then without it: they find each other by themselves.
addresses() { k get pods -l dynamo-k8s.io/cluster=shop -o jsonpath='{.items[*].status.podIP}'; }

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'
kd put greeting hello >/dev/null

begins "all pods are killed at once, so that every address changes"
before=$(addresses)
began=$SECONDS
k delete pods -l dynamo-k8s.io/cluster=shop --grace-period=0 --force >/dev/null 2>&1
wait_for 240 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure all-killed-to-settled-s $((SECONDS - began))
[ "$before" != "$(addresses)" ] || fails "no address has changed"
is "$(kd get greeting)" hello "what kubectl dynamo get says"
witness_writes 100

begins "again, and there is no operator"
ks scale deployment dynamo-operator --replicas=0 >/dev/null
ks wait --for=delete pod -l app.kubernetes.io/name=dynamo-operator --timeout=60s >/dev/null
k delete pods -l dynamo-k8s.io/cluster=shop >/dev/null
for zone in a b c; do wait_for 180 "shop-$zone-0 is ready" ready "statefulset/shop-$zone" 1; done
witness_writes 100
ks scale deployment dynamo-operator --replicas=1 >/dev/null
wait_for 180 "three nodes serve, and nothing is left to do" has_nodes shop 3

witness_ends
# While all are away there is nobody to write to: what was under way at each kill has an unknown end.
is "$(jq '.lost | length' <<<"$report")" 0 "acknowledged writes that were lost"
