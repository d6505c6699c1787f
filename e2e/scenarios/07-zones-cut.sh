# shellcheck shell=bash disable=SC2154
# Two zones are cut off from each other while both take writes, and the cut heals.

begins "six nodes, and a witness"
cluster_begins shop 6 <<<'storage: {size: 1Gi}'
a=$(worker_of a) b=$(worker_of b)

begins "zones a and b are cut off from each other, and reach c"
machines_are_cut "$a" "$b"
witness_writes 600
wait_for 120 "each side keeps hints for the other" has_condition shop DataSafe False
witness_writes 200
is "$(k get pods -l dynamo-k8s.io/cluster=shop -o json | jq '[.items[].status.containerStatuses[].restartCount] | add')" 0 "restarts"

begins "the cut heals"
began=$SECONDS
heal
wait_for 240 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure healed-to-settled-s $((SECONDS - began))

witness_ends
sloppy_holds 8 0
