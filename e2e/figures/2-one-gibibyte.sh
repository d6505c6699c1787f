# shellcheck shell=bash disable=SC2154
# Three nodes with 1 GiB each become six while a witness writes.
gibibyte() { # 65,536 records of 16 KiB, which nothing can make smaller
  head -c $((768 << 20)) /dev/urandom | base64 -w 16384 | awk '{ printf "{\"key\":\"record-%d\",\"value\":\"%s\"}\n", NR, $0 }'
}

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 8Gi}'

begins "1 GiB is written"
began=$SECONDS
gibibyte | k exec -i shop-a-0 -c node -- dynamo load --key-field key --tls-ca /etc/dynamo/trust/ca.crt - >/dev/null || fails "not all was written"
figure load-1-gib-s $((SECONDS - began))
wait_for 120 "nothing is left to do" is_settled shop

begins "six"
began=$SECONDS
k scale dynamocluster shop --replicas=6 >/dev/null
wait_for 900 "six nodes serve, and nothing is left to do" has_nodes shop 6
figure scale-3-to-6-with-1-gib-s $((SECONDS - began))

witness_ends
sloppy_holds 8 0
