# shellcheck shell=bash disable=SC2154
# Another image, a node after the other, while a witness writes.
# All pods run an image, and it is told so: for wait_for.
all_run() { # IMAGE NODES
  local running
  running=$(k get pods -l dynamo-k8s.io/cluster=shop -o json | jq --arg image "$1" '[.items[] | select(.spec.containers[0].image == $image)] | length')
  [ "$running" = "$2" ] || { echo "$running of $2 pods run $1; $(k get dynamocluster shop -o jsonpath='{.status.summary}')"; return 1; }
  has_nodes shop "$2"
}

begins "six nodes, and a witness"
image_also_called dynamo-k8s/node:dev dynamo-k8s/node:next
cluster_begins shop 6 <<<'storage: {size: 1Gi}'
witness_writes 100

begins "an operator that is upgraded restarts no node"
pods() { k get pods -l dynamo-k8s.io/cluster=shop -o jsonpath='{.items[*].metadata.uid}'; }
before=$(pods)
operator_is_there --set nodeImage.version=next --set podAnnotations.upgraded=yes
sleep 20
is "$(pods)" "$before" "the pods after the operator's upgrade"

begins "the version is edited"
began=$SECONDS
cluster_edited shop '{"version": "next"}'
wait_for 600 "six nodes run the next version, and nothing is left to do" all_run dynamo-k8s/node:next 6
figure rolling-upgrade-of-6-s $((SECONDS - began))
is "$(k get dynamocluster shop -o jsonpath='{.status.version}')" next "the version in status"
witness_writes 100

witness_ends
sloppy_holds 8 0
operator_is_there
