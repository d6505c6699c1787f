# shellcheck shell=bash disable=SC2154
# Two workers are drained at once: one pod is evicted at a time, and no quorum is lost.

begins "six nodes, and a witness"
cluster_begins shop 6 <<<'storage: {size: 1Gi}'
b=$(worker_of b) c=$(worker_of c)

begins "the workers of zones b and c are drained at once"
undoes "$kubectl uncordon $b $c"
began=$SECONDS
"$kubectl" drain "$b" "$c" --ignore-daemonsets --delete-emptydir-data --pod-selector=dynamo-k8s.io/cluster --timeout=60s >"$DYNAMO_E2E_ARTEFACTS.drain" 2>&1 &
drain=$!
# Whoever was evicted has nowhere to go: no more than one zone's nodes may be away.
for _ in $(seq 30); do
  at_most "$(k get pods -l dynamo-k8s.io/cluster=shop -o json | jq '[.items[] | select(.metadata.deletionTimestamp or all(.status.containerStatuses[]?; .ready | not) or .status.phase != "Running")] | length')" 2 "pods that are away"
  sleep 2
done
wait "$drain" || told "the drain does not get through while what was evicted has nowhere to go, as it must be"
witness_writes 100

begins "both are uncordoned"
"$kubectl" uncordon "$b" "$c" >/dev/null
wait_for 300 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure drained-to-settled-s $((SECONDS - began))

witness_ends
sloppy_holds 8 0
