# shellcheck shell=bash
# An authority that is neither the operator's nor the nodes': openssl, by hand, as somebody with tools of their own would. Sourced
# by lib/scenario.
# shellcheck disable=SC2154

# In the folder `papers`, which goes with the scenario.
papers_are_made() {
  papers=$(mktemp -d)
  undoes "rm -rf $papers"
}

# authority_made NAME: NAME.crt and NAME.key in `papers`.
authority_made() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" -keyout "$papers/$1.key" \
    -out "$papers/$1.crt" -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" 2>/dev/null ||
    fails "openssl makes no authority"
}

# signed AUTHORITY NAME URI [HOST...]: NAME.crt and NAME.key, for whom the URI says, and for those hosts.
signed() {
  local host authority=$1 name=$2 names="URI:$3"
  for host in "${@:4}"; do names+=",DNS:$host"; done
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$papers/$name.key" \
    -out "$papers/$name.csr" 2>/dev/null || fails "openssl makes no key"
  openssl x509 -req -in "$papers/$name.csr" -CA "$papers/$authority.crt" -CAkey "$papers/$authority.key" -CAcreateserial -days 20 \
    -out "$papers/$name.crt" 2>/dev/null -extfile <(
      printf '%s\n' "subjectAltName=$names" "basicConstraints=CA:FALSE" "keyUsage=digitalSignature" \
        "extendedKeyUsage=serverAuth,clientAuth") || fails "openssl signs nothing"
}

# SHA-256 of a certificate, as nodes tell it.
fingerprint_of() { openssl x509 -in "$papers/$1.crt" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr 'A-F' 'a-f'; }

# kubelet_looks CLUSTER: it brings changed Secrets and ConfigMaps to pods within two minutes, and at once to a pod that was edited.
kubelet_looks() {
  k annotate pods -l "dynamo-k8s.io/cluster=$1" --overwrite "e2e/looks=$SECONDS" >/dev/null
}
