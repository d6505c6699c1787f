# shellcheck shell=bash disable=SC2154
# A machine is dead, and a taint says that it will not return: its disk is given up; and it returns all the same.
is_there_anew() { # NODE CLAIM: for wait_for
  [ "$(claim_of "$1")" != "$2" ] || { echo "$1 has the claim that it had; $(kd why | tr '\n' ' ')"; return 1; }
  has_nodes shop 3
}

begins "three nodes, and a witness"
cluster_begins shop 3 <<'Y'
storage: {size: 1Gi}
replaceAfterSeconds: 10
Y
c=$(worker_of c) claim=$(claim_of shop-c-0)

begins "the machine of zone c is killed: its disk is waited for"
machine_dies "$c"
wait_for 180 "Kubernetes has noticed" machine_is_not_ready "$c"
sleep 20
is "$(claim_of shop-c-0)" "$claim" "the claim of shop-c-0, whose machine may return"
witness_writes 100

begins "a taint says that the machine will not: its disk is given up, for another machine of the zone"
control=$("$kubectl" get nodes -l node-role.kubernetes.io/control-plane -o jsonpath='{.items[0].metadata.name}')
undoes "machine_is_no_zone $control"
machine_is_of_zone "$control" c
undoes "$kubectl taint node $c node.kubernetes.io/out-of-service-"
began=$SECONDS
"$kubectl" taint node "$c" node.kubernetes.io/out-of-service=nodeshutdown:NoExecute >/dev/null
wait_for 300 "shop-c-0 has another disk, and nothing is left to do" is_there_anew shop-c-0 "$claim"
figure given-up-to-settled-s $((SECONDS - began))
is "$(k get pod shop-c-0 -o jsonpath='{.spec.nodeName}')" "$control" "where shop-c-0 is"
witness_writes 100

begins "it returns all the same: nobody minds"
machine_returns "$c"
"$kubectl" wait --for=condition=Ready "node/$c" --timeout=180s >/dev/null
"$kubectl" taint node "$c" node.kubernetes.io/out-of-service- >/dev/null
sleep 15
wait_for 120 "three nodes serve, and nothing is left to do" has_nodes shop 3
is "$(k get pods -l dynamo-k8s.io/cluster=shop,dynamo-k8s.io/zone=c -o jsonpath='{.items[*].spec.nodeName}')" "$control" "where pods of zone c are"

witness_ends
sloppy_holds 8 1
