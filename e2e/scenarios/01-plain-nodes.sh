# shellcheck shell=bash disable=SC2154
# The node's image alone: three nodes find each other, keep their data and their manners.

begins "a node in each of three zones, with a volume each, under Pod Security restricted"
plain_cluster shop
wait_for 120 "three nodes are ready" plain_ready shop
wait_for 60 "they see each other" plain_settled shop

begins "a person writes on one node and reads on another"
k exec shop-a-0 -- dynamo put greeting hello >/dev/null
is "$(k exec shop-b-0 -- dynamo get greeting)" hello "what shop-b-0 tells"

begins "a witness writes and reads from now on"
witness_begins shop

begins "a node is told to stop: it hands over, says why it went, and comes back with its data"
k delete pod shop-b-0 --wait=false >/dev/null
witness_writes 100
wait_for 120 "three nodes are ready" plain_ready shop

begins "all nodes at once, so that every address changes"
addresses() { k get pods -l app=shop -o jsonpath='{.items[*].status.podIP}'; }
before=$(addresses)
k delete pod -l app=shop >/dev/null
wait_for 180 "three nodes are ready" plain_ready shop
[ "$before" != "$(addresses)" ] || fails "no address has changed"
wait_for 120 "they see each other" plain_settled shop
witness_writes 100

witness_ends
is "$(k exec shop-c-0 -- dynamo get greeting)" hello "what shop-c-0 tells"
