# shellcheck shell=bash disable=SC2154
# Machines die, stand still and are cut off from each other, and a sloppy bucket takes every write.

begins "a node in each of three zones, and a witness"
plain_cluster shop
wait_for 120 "three nodes are ready" plain_ready shop
wait_for 60 "they see each other" plain_settled shop
witness_begins shop
a=$(worker_of a) b=$(worker_of b) c=$(worker_of c)

begins "the machine of zone b is killed"
machine_dies "$b"
witness_writes 300
machine_returns "$b"
wait_for 180 "three nodes are ready" plain_ready shop
wait_for 120 "the hints are delivered" plain_settled shop

begins "the machine of zone c stands still"
machine_pauses "$c"
witness_writes 300
machine_goes_on "$c"
wait_for 180 "three nodes are ready" plain_ready shop
wait_for 120 "the hints are delivered" plain_settled shop

begins "zones a and b are cut off from each other, and reach c"
machines_are_cut "$a" "$b"
witness_writes 300
heal
wait_for 120 "the hints are delivered" plain_settled shop

witness_ends
sloppy_holds 8 1
