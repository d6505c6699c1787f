# shellcheck shell=bash disable=SC2154
# A machine is off, so a restart waits; somebody insists, and it goes on though ranges lose their quorum by it.
restarted() { # LIFE...: none of these is there any more. For wait_for.
  local life
  for life in "$@"; do [[ " $(lives_of shop) " != *" $life "* ]] || { echo "not all were restarted; $(kd why | tr '\n' ' ')"; return 1; }; done
}
all_restarted() { restarted "$@" && has_nodes shop 3; }

begins "three nodes, and a witness"
cluster_begins shop 3 <<<'storage: {size: 1Gi}'
a=$(life_of shop-a-0) b=$(life_of shop-b-0) c=$(life_of shop-c-0)
kd put before insisting >/dev/null

begins "the machine of zone c dies, and all are to restart: shop-c-0 can't, and the others wait"
machine_dies "$(worker_of c)"
wait_for 120 "Kubernetes has noticed" machine_is_not_ready "$(worker_of c)"
kd restart >/dev/null
wait_for 300 "it is told what would come of it" tells "would leave ranges without their quorum while shop-c-0 can't serve" kd why
is "$(life_of shop-a-0) $(life_of shop-b-0)" "$a $b" "the pods of the other zones, while it waits"
witness_writes 100

begins "somebody insists"
began=$SECONDS
kd restart --anyway --yes >/dev/null
wait_for 300 "shop-a-0 and shop-b-0 have restarted" restarted "$a" "$b"
figure insisted-restart-of-2-s $((SECONDS - began))

begins "the machine returns: what is left of it goes on by itself"
heal
wait_for 400 "all have restarted, and nothing is left to do" all_restarted "$a" "$b" "$c"
is "$(kd get before)" insisting "what was written before"
witness_writes 100

witness_ends
# With one node away and another restarting there are ranges that nobody can write to.
is "$(jq '.lost | length' <<<"$report")" 0 "acknowledged writes that were lost"
