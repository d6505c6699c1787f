# shellcheck shell=bash disable=SC2154
# A pod is deleted, one is killed without a warning, and one loses its volume claim with it.
# Another claim than before, and all is well: for wait_for.
has_another_disk() { # NODE CLAIM
  [ "$(claim_of "$1")" != "$2" ] || { echo "data-$1 is still the claim that was deleted"; return 1; }
  has_nodes shop 3
}

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'

begins "a pod is deleted: it hands over, and comes back with its volume"
claim=$(claim_of shop-a-0)
began=$SECONDS
k delete pod shop-a-0 >/dev/null
wait_for 180 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure deleted-pod-s $((SECONDS - began))
is "$(claim_of shop-a-0)" "$claim" "the claim of shop-a-0"
witness_writes 100

begins "a pod is killed without a warning"
began=$SECONDS
k delete pod shop-b-0 --grace-period=0 --force >/dev/null 2>&1
witness_writes 100
wait_for 180 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure killed-pod-s $((SECONDS - began))

begins "a volume claim is deleted, and its pod: an empty disk is filled from the other replicas"
claim=$(claim_of shop-c-0)
began=$SECONDS
k delete pvc data-shop-c-0 --wait=false >/dev/null
k delete pod shop-c-0 --wait=false >/dev/null
wait_for 300 "shop-c-0 has another disk, and nothing is left to do" has_another_disk shop-c-0 "$claim"
figure lost-disk-s $((SECONDS - began))
witness_writes 100

witness_ends
sloppy_holds 8 2
