# shellcheck shell=bash disable=SC2154
# Two workers are drained at once: one pod is evicted at a time, and no quorum is lost.

begins "six nodes, and a witness"
cluster_begins shop 6 <<<'storage: {size: 1Gi}'
b=$(worker_of b) c=$(worker_of c)

begins "the workers of zones b and c are drained at once"
mkdir -p "$DYNAMO_E2E_ARTEFACTS"
undoes "$kubectl uncordon $b $c"
began=$SECONDS
"$kubectl" drain "$b" "$c" --ignore-daemonsets --delete-emptydir-data --pod-selector=dynamo-k8s.io/cluster --timeout=60s >"$DYNAMO_E2E_ARTEFACTS/drain" 2>&1 &
drain=$!
# Whoever was evicted has nowhere to go: no more than one zone's nodes may be away, so that every range has its quorum.
zones_away() {
  k get pods -l dynamo-k8s.io/cluster=shop -o json | jq -r '[.items[]
    | select(.metadata.deletionTimestamp or all(.status.containerStatuses[]?; .ready | not) or .status.phase != "Running")
    | .metadata.labels["dynamo-k8s.io/zone"]] | unique | join(" ")'
}
seen=''
while kill -0 "$drain" 2>/dev/null; do
  away=$(zones_away)
  at_most "$(wc -w <<<"$away")" 1 "zones of which pods are away ($away)"
  [ -z "$away" ] || seen=$away
  is "$(k get dynamocluster shop -o jsonpath='{.status.conditions[?(@.type=="Available")].status}')" True "Available"
  sleep 2
done
[ -n "$seen" ] || fails "no pod was evicted at all"
told "pods of zone $seen were away, and of no other one"
grep -q "violate the pod's disruption budget" "$DYNAMO_E2E_ARTEFACTS/drain" || fails "no eviction was refused: $(tail -n 3 "$DYNAMO_E2E_ARTEFACTS/drain")"
wait_for 60 "an event says that evictions are held" event_told shop Waiting "no pod may be evicted now"
wait "$drain" || told "the drain does not get through while what was evicted has nowhere to go, as it must be"
witness_writes 100

begins "both are uncordoned"
"$kubectl" uncordon "$b" "$c" >/dev/null
wait_for 300 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure drained-to-settled-s $((SECONDS - began))

witness_ends
sloppy_holds 8 0
