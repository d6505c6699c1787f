# shellcheck shell=bash disable=SC2154
# An image that is not there stops at the first pod, says so, and the reverted spec gets through.
not_ready() { k get pods -l dynamo-k8s.io/cluster=shop -o json | jq '[.items[] | select(all(.status.containerStatuses[]?; .ready) | not)] | length'; }
is_ready() { # POD IMAGE
  local said
  said=$(k get pod "$1" -o jsonpath='{.spec.containers[0].image} {.status.containerStatuses[0].ready}') || return
  [ "$said" = "$2 true" ] || { echo "$1: $said"; return 1; }
}

begins "six nodes, and a witness"
cluster_begins shop 6 <<<'storage: {size: 1Gi}'

begins "the image is one that is not there"
began=$SECONDS
cluster_edited shop '{"image": "dynamo-k8s/node:not-there"}'
wait_for 240 "it is told that the image can't be pulled" degraded_for shop ImageNotPulled dynamo-k8s/node:not-there
wait_for 60 "an event says that it began" event_told shop Restarting
wait_for 60 "an event says that it can't be pulled" event_told shop Degraded dynamo-k8s/node:not-there
figure bad-image-to-degraded-s $((SECONDS - began))
# Time for whoever would go on all the same, and for pods of other zones that restart on their own.
for pod in shop-a-0 shop-b-0; do
  k delete pod $pod >/dev/null
  wait_for 120 "$pod came back as it was" is_ready $pod dynamo-k8s/node:dev
done
sleep 20
is "$(not_ready)" 1 "pods that are not ready"
wait_for 30 "every key can be read and written still" has_condition shop Available True
witness_writes 100

begins "the spec is set back"
began=$SECONDS
"$kubectl" -n "$namespace" patch dynamocluster shop --type json -p '[{"op": "remove", "path": "/spec/image"}]' >/dev/null
wait_for 400 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure reverted-to-settled-s $((SECONDS - began))

witness_ends
sloppy_holds 8 0
