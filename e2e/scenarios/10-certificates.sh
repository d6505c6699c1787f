# shellcheck shell=bash disable=SC2154
# New certificates, then another authority, without a restart and without a write that fails; and nodes restart without the
# operator.
fingerprints() { k get dynamocluster shop -o jsonpath='{.status.tls.authorities[*].fingerprint}'; }
certificates() { asked shop-a-0 status -o json | jq -r '[.nodes[].certificate] | sort | join(" ")'; }
other_certificates() { # BEFORE
  local one now
  now=$(certificates) || return
  for one in $1; do [[ " $now " != *" $one "* ]] || { echo "one of the former certificates is still shown"; return 1; }; done
  is_settled shop
}
other_authority() { # BEFORE
  local tls
  tls=$(k get dynamocluster shop -o jsonpath='{.status.tls}')
  [ "$(jq -r .phase <<<"$tls")" = Settled ] || { echo "$tls"; return 1; }
  [[ $(fingerprints) != *"$1"* ]] || { echo "the former authority is trusted"; return 1; }
  is_settled shop
}
restarts() { k get pods -l dynamo-k8s.io/cluster=shop -o json | jq -c '[.items[] | [.metadata.uid, .status.containerStatuses[].restartCount]] | sort'; }

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'
pods=$(restarts)

begins "new certificates are asked for"
before=$(certificates)
began=$SECONDS
cluster_edited shop "{\"maintenance\": {\"certificatesRequestedAt\": \"$(date -u +%FT%TZ)\"}}"
wait_for 300 "each node shows another certificate" other_certificates "$before"
figure new-certificates-s $((SECONDS - began))
witness_writes 100

begins "another authority is asked for"
before=$(fingerprints)
began=$SECONDS
cluster_edited shop "{\"maintenance\": {\"caRequestedAt\": \"$(date -u +%FT%TZ)\"}}"
wait_for 900 "the former authority is trusted by nobody" other_authority "$before"
figure new-authority-s $((SECONDS - began))
is "$(restarts)" "$pods" "pods and their restarts"
witness_writes 100
kd put after rotation >/dev/null

begins "a node restarts while there is no operator"
ks scale deployment dynamo-operator --replicas=0 >/dev/null
ks wait --for=delete pod -l app.kubernetes.io/name=dynamo-operator --timeout=60s >/dev/null
k delete pod shop-b-0 >/dev/null
wait_for 120 "shop-b-0 is ready" ready statefulset/shop-b 1
is "$(asked shop-b-0 get after)" rotation "what shop-b-0 says"
ks scale deployment dynamo-operator --replicas=1 >/dev/null
wait_for 180 "three nodes serve, and nothing is left to do" has_nodes shop 3

witness_ends
sloppy_holds 8 0
