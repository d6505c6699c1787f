# shellcheck shell=bash disable=SC2154
# A disk runs full: that is told, and the others go on; a larger size in the spec mends it, while the nodes serve.
# Each claim's size at a path of it, in bytes, once each: they are written in this unit and that.
sizes() { k get pvc -l dynamo-k8s.io/cluster=shop -o jsonpath="{range .items[*]}{$1}{'\n'}{end}" | numfmt --from=auto | sort -u | tr '\n' ' '; }
claims_have() { # SIZE
  local have
  have=$(sizes .status.capacity.storage)
  [ "$have" = "$(numfmt --from=auto "$1") " ] || { echo "the claims have $have"; return 1; }
}
claims_want() { # SIZE
  local want
  want=$(sizes .spec.resources.requests.storage)
  [ "$want" = "$(numfmt --from=auto "$1") " ] || { echo "the claims want $want; $(k get dynamocluster shop -o jsonpath='{.status.summary}')"; return 1; }
}

begins "three nodes on small file systems, and a witness"
small_volumes 600
cluster_begins shop 3 <<<'storage: {size: 600Mi, storageClassName: e2e-small}'
pods=$(k get pods -l dynamo-k8s.io/cluster=shop -o jsonpath='{.items[*].metadata.uid}')

begins "the disk of shop-b-0 is full"
small_is_filled b 4
wait_for 120 "it is told, with what to do" degraded_for shop DiskRefuses "the disk of shop-b-0 takes no writes"
wait_for 60 "an event says so" event_told shop DiskFull shop-b-0
is "$(k get dynamocluster shop -o jsonpath="{.status.nodes[?(@.disk!='Ok')].name}")" shop-b-0 "nodes whose disk is not well"
told "$(k get dynamocluster shop -o jsonpath='{.status.summary}')"
witness_writes 200

begins "the spec says 900Mi"
began=$SECONDS
cluster_edited shop '{"storage": {"size": "900Mi"}}'
wait_for 120 "each claim asks for it" claims_want 900Mi
for zone in a b c; do small_grows $zone 900; done
wait_for 240 "each claim has it" claims_have 900Mi
wait_for 240 "three nodes serve, and nothing is left to do" has_nodes shop 3
wait_for 60 "an event says that it is well again" event_told shop DiskOk shop-b-0
figure grown-s $((SECONDS - began))
is "$(k get pods -l dynamo-k8s.io/cluster=shop -o jsonpath='{.items[*].metadata.uid}')" "$pods" "the pods: none was restarted"
is "$(k get statefulset shop-b -o jsonpath='{.spec.volumeClaimTemplates[0].spec.resources.requests.storage}' | numfmt --from=auto)" "$(numfmt --from=auto 900Mi)" "what the StatefulSet says of claims"
witness_writes 100

witness_ends
sloppy_holds 8 0
