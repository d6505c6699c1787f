# shellcheck shell=bash disable=SC2154
# Three nodes become six and then four while a witness writes; then edits that overtake each other.
claims() { k get pvc -l dynamo-k8s.io/cluster=shop -o name | wc -l; }

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'
witness_writes 200

begins "six"
began=$SECONDS
k scale dynamocluster shop --replicas=6 >/dev/null
wait_for 400 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure scale-3-to-6-s $((SECONDS - began))
witness_writes 100

begins "four: the nodes that go hand over, then their pods go, then their volumes"
began=$SECONDS
k scale dynamocluster shop --replicas=4 >/dev/null
wait_for 400 "four nodes serve, and nothing is left to do" has_nodes shop 4
figure scale-6-to-4-s $((SECONDS - began))
is "$(claims)" 4 "volume claims"

begins "seven, at once three, at once five"
began=$SECONDS
k scale dynamocluster shop --replicas=7 >/dev/null
witness_writes 100
k scale dynamocluster shop --replicas=3 >/dev/null
witness_writes 100
k scale dynamocluster shop --replicas=5 >/dev/null
wait_for 600 "five nodes serve, and nothing is left to do" has_nodes shop 5
figure overtaking-edits-s $((SECONDS - began))
is "$(claims)" 5 "volume claims"

witness_ends
sloppy_holds 8 0
