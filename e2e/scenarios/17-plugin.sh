# shellcheck shell=bash disable=SC2154
# What a person on call asks for with kubectl dynamo, and what comes of it in the cluster.
members() { k get dynamocluster shop -o jsonpath='{.status.ring.members}'; }
maintenance() { k get dynamocluster shop -o json | jq -r ".spec.maintenance.$1 // \"none\""; }
# Another claim than before, and all is well: for wait_for.
has_another_disk() { # NODE CLAIM
  [ "$(claim_of "$1")" != "$2" ] || { echo "$1 has the claim that it had; $(kd why | tr '\n' ' ')"; return 1; }
  has_nodes shop 3
}
# None of the pods that there were, and all is well: for wait_for.
all_are_others() { # PODS
  local life
  for life in $1; do [[ " $(lives_of shop) " != *" $life "* ]] || { echo "not all were restarted; $(kd why | tr '\n' ' ')"; return 1; }; done
  has_nodes shop 3
}
# Under load a node is suspected for a moment by another one: for wait_for.
all_serve() {
  local nodes seen
  nodes=$(kd status -o json | jq -r '[.status.nodes[] | .name + " " + .state] | sort | join(", ")') &&
    seen=$(kd nodes -o json | jq '[.nodes[] | select(.state == "up")] | length') || return 1
  echo "status: $nodes; up, as the nodes see it: $seen"
  [ "$nodes, $seen up" = "shop-a-0 Serving, shop-b-0 Serving, shop-c-0 Serving, 3 up" ]
}

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'

begins "how it is, in words and for programs"
wait_for 60 "status tells the summary" tells "shop: settled" kd status
wait_for 60 "all serve, by status and by the nodes" all_serve
wait_for 60 "why: nothing waits" tells "nothing waits: settled" kd why
wait_for 60 "plan: nothing is to be done" tells "nothing is to be done" kd plan
wait_for 10 "the ring is settled, as the nodes say" tells settled kd ring status
is "$(kd ring --key greeting -o json | jq '.preference_list // .nodes | length')" 3 "homes of a key"
wait_for 10 "the buckets of the spec are there" tells witness-strict kd bucket list
refused 2 "administrator" kd bucket create another
refused 1 "no DynamoCluster carts" kd -c carts status

begins "a key is written and read, and whoever does so connects to the forwarded port alone"
kd put greeting hello >/dev/null
is "$(kd get greeting)" hello "what kubectl dynamo get says"
plugin_is_watched shop
is "$(kdw get greeting)" hello "what the plugin says where pods can be reached"
kdw put greeting hello --context "$(kdw get greeting -o json | jq -r .context)" >/dev/null
is "$(strays)" 0 "packets of the plugin that went straight to nodes"
# And without what it is told they would: so that this check can fail.
is "$(watched_directly shop greeting)" hello "what is read where pods can be reached"
[ "$(strays)" -gt 0 ] || fails "a client that may go straight to nodes does not: the check above shows nothing"

begins "a port is forwarded until it is interrupted"
forwarded=$(mktemp)
undoes "rm -f $forwarded"
kd_forwards "$forwarded"
# shellcheck source=/dev/null
is "$(. "$forwarded"; "$(tools)/dynamo" get greeting)" hello "what is read through the port"
kill -INT "$forward"
wait "$forward" || fails "it ended with $?, when it was interrupted"
# shellcheck source=/dev/null
if (. "$forwarded"; "$(tools)/dynamo" get greeting) >/dev/null 2>&1; then fails "the port is forwarded still"; fi

begins "paused: a restart that is asked for waits, and that is told"
pods=$(lives_of shop)
kd pause >/dev/null
tells "paused already" kd pause
kd restart >/dev/null
wait_for 90 "why names the pause" tells "spec.maintenance.pause is set" kd why
wait_for 60 "the plan has the restart" tells restart kd plan
sleep 25
is "$(lives_of shop)" "$pods" "the pods while it is paused"

begins "resumed: each node restarts, one set after the other"
began=$SECONDS
kd resume >/dev/null
wait_for 400 "all pods are others, and nothing is left to do" all_are_others "$pods"
figure restart-of-3-s $((SECONDS - began))
wait_for 30 "an event says so" event_told shop Restarting
witness_writes 100

begins "plan only: what an edit would do is told, and not done"
cluster_edited shop '{"maintenance": {"planOnly": true}, "replicas": 4}'
wait_for 90 "why names planOnly" tells "spec.maintenance.planOnly is set" kd why
wait_for 60 "the plan has the node that would come" tells shop-a kd plan
sleep 15
is "$(k get pods -l dynamo-k8s.io/cluster=shop -o name | wc -l) $(members)" "3 3" "pods, and members of the ring"
cluster_edited shop '{"maintenance": {"planOnly": false}, "replicas": 3}'
wait_for 90 "three nodes serve, and nothing is left to do" has_nodes shop 3

begins "a disk is replaced, when somebody means it"
claim=$(claim_of shop-a-0)
refused 1 "has no node shop-a-9" kd replace shop-a-9 --yes
refused 2 "say --yes" kd replace shop-a-0
is "$(maintenance replace)" none "what is asked for, after it was not meant"
began=$SECONDS
kd replace shop-a-0 --yes >/dev/null
wait_for 300 "shop-a-0 has another disk, and nothing is left to do" has_another_disk shop-a-0 "$claim"
figure replaced-disk-s $((SECONDS - began))
wait_for 30 "an event says so" event_told shop DiskDeleted shop-a-0
is "$(asked shop-a-0 get greeting)" hello "what shop-a-0 says"

begins "what is taken back before it began does not happen"
claim=$(claim_of shop-b-0)
kd pause >/dev/null
kd replace shop-b-0 --yes >/dev/null
wait_for 90 "it waits" tells shop-b-0 kd why
refused 2 "say --yes" kd restart --anyway
kd restart --anyway --yes >/dev/null
is "$(maintenance restartAnyway)" "$(k get dynamocluster shop -o jsonpath='{.status.template}')" "the template for which quorums do not count"
kd cancel >/dev/null
is "$(maintenance replace) $(maintenance restartAnyway)" "none none" "what is asked for"
kd resume >/dev/null
wait_for 90 "three nodes serve, and nothing is left to do" has_nodes shop 3
sleep 20
is "$(claim_of shop-b-0)" "$claim" "the claim of shop-b-0"

begins "the machine of zone c is emptied onto another one of its zone"
c=$(worker_of c)
control=$("$kubectl" get nodes -l node-role.kubernetes.io/control-plane -o jsonpath='{.items[0].metadata.name}')
claim=$(claim_of shop-c-0)
refused 2 "kubectl cordon" kd drain "$c" --yes
refused 1 "no node of shop is on machine" kd drain "$control" --yes
undoes "machine_is_no_zone $control"
machine_is_of_zone "$control" c
undoes "$kubectl uncordon $c"
"$kubectl" cordon "$c" >/dev/null
began=$SECONDS
kd drain "$c" --yes >/dev/null
wait_for 300 "shop-c-0 has another disk, and nothing is left to do" has_another_disk shop-c-0 "$claim"
figure drained-machine-s $((SECONDS - began))
is "$(k get pod shop-c-0 -o jsonpath='{.spec.nodeName}')" "$control" "where shop-c-0 is"
witness_writes 100

witness_ends
sloppy_holds 8 0
