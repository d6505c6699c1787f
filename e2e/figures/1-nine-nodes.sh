# shellcheck shell=bash disable=SC2154
# From apply to Available: nine nodes, three in each zone.

begins "the operator"
operator_is_there

begins "nine nodes"
began=$SECONDS
cluster_applied shop <<'Y'
replicas: 9
storage: {size: 1Gi}
Y
wait_for 600 "every key can be read and written" has_condition shop Available True
figure apply-to-available-of-9-s $((SECONDS - began))
wait_for 300 "nine nodes serve, and nothing is left to do" has_nodes shop 9
figure apply-to-settled-of-9-s $((SECONDS - began))
