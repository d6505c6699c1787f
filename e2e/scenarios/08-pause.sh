# shellcheck shell=bash disable=SC2154
# A node's process stands still and goes on; then a whole machine does.

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'
b=$(worker_of b) c=$(worker_of c)

begins "the process of shop-b-0 stands still for 20 s"
process_stands_still "$b" dynamo-node
witness_writes 200
sleep 20
process_goes_on "$b" dynamo-node
began=$SECONDS
wait_for 180 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure process-on-to-settled-s $((SECONDS - began))

begins "the machine of zone c stands still until Kubernetes notices"
machine_pauses "$c"
witness_writes 300
wait_for 120 "Kubernetes has noticed" machine_is_not_ready "$c"
machine_goes_on "$c"
began=$SECONDS
wait_for 240 "three nodes serve, and nothing is left to do" has_nodes shop 3
figure machine-on-to-settled-s $((SECONDS - began))

witness_ends
# Who stands still can't say what became of what it was at: its clients wait for so long as a request may take, and are in doubt.
sloppy_holds 8 2
