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
# The witness reaches both sides; these do not.
written_at() { asked "$1" put "$2" "$3" --via-endpoint >/dev/null || fails "$1 takes no write while the zones are cut off"; }
written_at shop-a-0 of-a here
written_at shop-b-0 of-b there
written_at shop-a-0 of-both here
written_at shop-b-0 of-both there
for side in a b; do is "$(asked "shop-$side-0" get "of-$side" --via-endpoint | wc -l)" 1 "values of of-$side at its own side"; done
is "$(k get pods -l dynamo-k8s.io/cluster=shop -o json | jq '[.items[].status.containerStatuses[].restartCount] | add')" 0 "restarts"

begins "the cut heals"
began=$SECONDS
heal
wait_for 240 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure healed-to-settled-s $((SECONDS - began))
is "$(asked shop-b-0 get of-a --via-endpoint) $(asked shop-a-0 get of-b --via-endpoint)" "here there" "what each side says of the other's write"
is "$(asked shop-c-0 get of-both -o json | jq -c '[.values[] | tostring] | sort')" '["here","there"]' "what both sides wrote to one key"

witness_ends
sloppy_holds 8 0
