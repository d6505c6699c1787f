# shellcheck shell=bash disable=SC2154
# A machine is killed and comes back; then one is killed that never does, and its disk is given up.

begins "three nodes, and a witness"
# A machine that is gone is noticed by who waits for its pods: sooner than by default, in tests.
cluster_begins shop 3 <<'Y'
storage: {size: 1Gi}
replaceAfterSeconds: 20
podTemplate:
  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 10}]
Y
b=$(worker_of b) c=$(worker_of c)
held() { echo "$(life_of shop-b-0) $(claim_of shop-b-0) $(k get pod shop-b-0 -o jsonpath='{.spec.nodeName}')"; }
is_going() { [ -n "$(k get pod shop-b-0 -o jsonpath='{.metadata.deletionTimestamp}')" ] || { echo "shop-b-0 is not told to go"; return 1; }; }
before=$(held)

begins "the machine of zone b is killed, and comes back after a while"
machine_dies "$b"
witness_writes 300
wait_for 120 "it is told that data is not safe" has_condition shop DataSafe False
# It is only not ready: its disk is waited for, and nobody else gets its name or its disk.
wait_for 180 "Kubernetes wants its pod to go" is_going
sleep 40
is "$(held)" "$before" "the pod shop-b-0, its claim and its machine"
is_going >/dev/null || fails "shop-b-0 is there again, and its machine may run it still"
is "$(k get pods -l dynamo-k8s.io/cluster=shop,dynamo-k8s.io/zone=b -o name)" pod/shop-b-0 "pods of zone b"
is "$(k get dynamocluster shop -o jsonpath='{.status.ring.members}')" 3 "members of the ring"
machine_returns "$b"
began=$SECONDS
wait_for 240 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure machine-back-to-settled-s $((SECONDS - began))

begins "the machine of zone c is killed, and taken out of Kubernetes; another one of its zone is there"
machine_dies "$c"
witness_writes 200
"$kubectl" delete node "$c" >/dev/null
control=$("$kubectl" get nodes -l node-role.kubernetes.io/control-plane -o jsonpath='{.items[0].metadata.name}')
undoes "machine_is_no_zone $control"
machine_is_of_zone "$control" c
began=$SECONDS
wait_for 400 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure machine-gone-to-settled-s $((SECONDS - began))
is "$(k get pod shop-c-0 -o jsonpath='{.spec.nodeName}')" "$control" "where shop-c-0 is"
witness_writes 100

witness_ends
sloppy_holds 8 2
