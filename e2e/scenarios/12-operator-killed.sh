# shellcheck shell=bash disable=SC2154
# The operator is killed again and again in the middle of a scale-down.

begins "six nodes, and a witness"
cluster_begins shop 6 <<<'storage: {size: 1Gi}'

begins "three, while the operator is killed every few seconds"
began=$SECONDS
k scale dynamocluster shop --replicas=3 >/dev/null
for pause in 1 3 5 8 13 17 21; do
  sleep "$pause"
  ks delete pod -l app.kubernetes.io/name=dynamo-operator --grace-period=0 --force >/dev/null 2>&1
done
wait_for 400 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure scale-6-to-3-with-kills-s $((SECONDS - began))
is "$(k get pvc -l dynamo-k8s.io/cluster=shop -o name | wc -l)" 3 "volume claims"

begins "six again"
k scale dynamocluster shop --replicas=6 >/dev/null
wait_for 400 "six nodes serve, and nothing is left to do" has_nodes shop 6

witness_ends
sloppy_holds 8 0
