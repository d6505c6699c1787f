# shellcheck shell=bash disable=SC2154
# Clients that show a token, clients that show a certificate, and nodes whose certificates somebody else keeps and rotates by hand.
lives() { k get pods -l "dynamo-k8s.io/cluster=$1" -o json | jq -c '[.items[] | [.metadata.uid, .status.containerStatuses[].restartCount]] | sort'; }
# kd, with what somebody shows.
with_token() { DYNAMO_TOKEN_FILE=$papers/$1.token kd -c vault "${@:2}"; }
with_certificate() { DYNAMO_TLS_CERT=$papers/$1.crt DYNAMO_TLS_KEY=$papers/$1.key kd -c shop "${@:2}"; }
token_made() { openssl rand -hex 24 >"$papers/$1.token"; }
tokens_applied() { # KEY=FILE...
  local each arguments=()
  for each in "$@"; do arguments+=("--from-file=${each%=*}=$papers/${each#*=}.token"); done
  k create secret generic vault-tokens --dry-run=client -o yaml "${arguments[@]}" | applies
}
# For wait_for: of each node of the cluster vault, by its own mouth. A Service or a forwarded port would ask one of them.
each_answers() { # TOKEN
  local pod said
  for pod in vault-a-0 vault-b-0 vault-c-0; do
    said=$(k exec -i "$pod" -c node -- dynamo get greeting --tls-ca /etc/dynamo/trust/ca.crt --via-endpoint \
      --token-file /dev/stdin <"$papers/$1.token" 2>&1) || { kubelet_looks vault; echo "$pod says: $said"; return 1; }
  done
}

papers_are_made
for token in witness person next admin; do token_made $token; done

begins "three nodes whose clients show a token, and a witness that does"
operator_is_there
tokens_applied client.witness=witness client.person=person admin=admin
cluster_applied vault <<'Y'
replicas: 3
storage: {size: 1Gi}
tls: {clientAuth: Token, tokensSecretName: vault-tokens}
Y
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes vault 3
witness_token=vault-tokens/client.witness witness_begins vault
pods=$(lives vault)

begins "who shows none gets nothing, and a sentence; who shows one gets what it is for"
refused 2 "token" kd -c vault get greeting
with_token person put greeting hello >/dev/null
is "$(with_token person get greeting)" hello "what is read with a token"
refused 2 "administrator" with_token person bucket create another
with_token admin bucket create another >/dev/null
wait_for 10 "the administrator's bucket is there" tells another with_token person bucket list

begins "a token is changed in the Secret: no node restarts for it"
tokens_applied client.witness=witness client.person=next admin=admin
wait_for 180 "each node takes the new token" each_answers next
refused 2 "token" with_token person get greeting
is "$(lives vault)" "$pods" "pods and their restarts"
witness_writes 100

begins "three nodes with certificates of somebody else's: they wait until there are some, and that is told"
cluster_applied shop <<'Y'
replicas: 3
storage: {size: 1Gi}
tls: {mode: Secret, secretName: shop-tls, clientAuth: Certificate}
Y
wait_for 90 "it is told what is missing" degraded_for shop Certificates "Secret shop-tls"
uri=$(k get dynamocluster shop -o jsonpath='{.status.tls.nodesUri}')
hosts=(shop "shop.$namespace" "shop.$namespace.svc" "*.shop-nodes.$namespace.svc" localhost)
secret_applied() { # CERTIFICATE KEY AUTHORITY...
  local one
  for one in "${@:3}"; do cat "$papers/$one.crt"; done >"$papers/bundle"
  k create secret generic shop-tls --dry-run=client -o yaml --from-file=tls.crt="$papers/$1.crt" \
    --from-file=tls.key="$papers/$2.key" --from-file=ca.crt="$papers/bundle" | applies
}
authority_made first
signed first nodes "$uri" "${hosts[@]}"
for role in client admin; do signed first $role "${uri%/node/*}/$role/person"; done
secret_applied nodes nodes first
wait_for 300 "three nodes serve, and nothing is left to do" has_nodes shop 3
pods=$(lives shop)

begins "a client without a certificate does not get in; one with it does what it is for"
refused any "nothing was read or written" kd -c shop get greeting
with_certificate client put greeting hello >/dev/null
is "$(with_certificate client get greeting)" hello "what is read with a certificate"
refused 2 "administrator" with_certificate client bucket create another
with_certificate admin bucket create another >/dev/null

# What each node says that it has: `one line a node`. Certificates are the same for all.
administrator=admin trusted='.trusted | sort | join(",")'
loaded() { with_certificate "$administrator" nodes -o json | jq -r ".nodes[] | $1"; }
all_loaded() { # WHAT EXPECTED: for wait_for
  local found
  found=$(loaded "$1" | sort -u) || return
  [ "$found" = "$2" ] || { kubelet_looks shop; echo "what nodes have loaded: $(tr '\n' ' ' <<<"$found")"; return 1; }
}
trusting() { for one in "$@"; do fingerprint_of "$one"; done | sort | paste -sd,; }

begins "a client writes all along, one key after the other"
forwarded=$papers/forwarded
kd_forwards "$forwarded" -c shop
# As the person whose certificate `who` names; it trusts what `trusted` has.
person() {
  # shellcheck source=/dev/null
  . "$forwarded"
  DYNAMO_TLS_CA=$papers/trusted DYNAMO_TLS_CERT=$papers/$(cat "$papers/who").crt DYNAMO_TLS_KEY=$papers/$(cat "$papers/who").key \
    "$(tools)/dynamo" "$@"
}
writes_on() {
  local number=0
  while [ -d "$papers" ] && [ ! -f "$papers/enough" ]; do
    number=$((number + 1))
    person put "key-$number" "value-$number" >/dev/null 2>>"$papers/refusals" || true
    echo $number >"$papers/last"
    sleep 1
  done
}
echo client >"$papers/who"
cp "$papers/first.crt" "$papers/trusted"
writes_on &
writer=$!

begins "another authority, by hand: trusted beside the first, then signing, then alone"
began=$SECONDS
authority_made second
signed second nodes-2 "$uri" "${hosts[@]}"
for role in client admin; do signed second $role-2 "${uri%/node/*}/$role/person"; done
cat "$papers/first.crt" "$papers/second.crt" >"$papers/both"
mv "$papers/both" "$papers/trusted"
secret_applied nodes nodes first second
wait_for 240 "each node trusts both" all_loaded "$trusted" "$(trusting first second)"
secret_applied nodes-2 nodes-2 second first
wait_for 240 "each node shows a certificate of the second" all_loaded .certificate_signed_by "$(fingerprint_of second)"
echo client-2 >"$papers/who"
administrator=admin-2
secret_applied nodes-2 nodes-2 second
wait_for 240 "each node trusts the second alone" all_loaded "$trusted" "$(trusting second)"
figure rotation-by-hand-s $((SECONDS - began))
refused any "nothing was read or written" with_certificate client get greeting
wait_for 90 "the operator goes on with it" is_settled shop

begins "a key of another pair by mistake: it is told, nodes keep what they have, and what is put right gets through"
secret_applied nodes-2 admin-2 second
wait_for 180 "the operator tells it" degraded_for shop Certificates "Secret shop-tls"
wait_for 240 "the nodes tell it" all_loaded '.certificate_problem != ""' true
is "$(with_certificate client-2 get greeting)" hello "what is read meanwhile"
secret_applied nodes-2 nodes-2 second
wait_for 240 "no node tells it any more" all_loaded .certificate_problem ""
wait_for 90 "three nodes serve, and nothing is left to do" has_nodes shop 3
is "$(lives shop)" "$pods" "pods and their restarts"

begins "what the client wrote is there, and nothing was refused"
touch "$papers/enough"
wait "$writer"
is "$(cat "$papers/refusals")" "" "what the client was refused"
for number in $(seq "$(cat "$papers/last")"); do is "$(person get "key-$number")" "value-$number" "key-$number"; done
told "$(cat "$papers/last") writes, none refused"

witness_ends
sloppy_holds 8 0
