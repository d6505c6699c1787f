# shellcheck shell=bash disable=SC2154
# From nothing: helm install, kubectl apply, and three nodes with certificates serve.

begins "the operator, by its chart"
began=$SECONDS
operator_is_there
figure install-to-ready-s $((SECONDS - began))
"$helm" test dynamo-operator --namespace "$system" --timeout 120s >/dev/null || fails "helm test"
told "helm test passed"

begins "a cluster of three nodes in three zones, with certificates of its own authority"
began=$SECONDS
cluster_applied shop <<'Y'
replicas: 3
storage: {size: 1Gi}
Y
wait_for 240 "every key can be read and written" has_condition shop Available True
figure apply-to-available-s $((SECONDS - began))
wait_for 120 "three nodes serve, and nothing is left to do" has_nodes shop 3

begins "a person writes and reads, by kubectl and inside"
kd put greeting hello >/dev/null
is "$(kd get greeting)" hello "what kubectl dynamo get says"
is "$(asked shop-b-0 get greeting)" hello "what shop-b-0 says"
if k exec shop-a-0 -- dynamo get greeting >/dev/null 2>&1; then fails "shop-a-0 was read in plaintext"; fi
for pod in shop-a-0 shop-b-0 shop-c-0; do
  is "$(k get pod "$pod" -o jsonpath='{.metadata.labels.dynamo-k8s\.io/zone}')" "$(cut -d- -f2 <<<"$pod")" "the zone of $pod"
done

begins "a witness writes and reads for a while"
witness_begins shop
witness_writes 300
witness_ends
sloppy_holds 8 0
is_settled shop >/dev/null || fails "the cluster is not settled: $(is_settled shop)"
