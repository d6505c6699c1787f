# shellcheck shell=bash
# The witness: a client that writes and reads all through a scenario, and whose history is judged by the simulator's
# checkers. It runs on the control plane's machine, which no scenario hurts. Sourced by lib/scenario.
# shellcheck disable=SC2154

# witness_begins SERVICE [ARGUMENT...]: it writes from now on; in TLS, where the cluster has a bundle, and showing a token where
# witness_token=SECRET/KEY says which.
witness_begins() {
  local endpoint=$1:7400 arguments='' argument trust='' mount='' volume=''
  if k get configmap "$1-trust" >/dev/null 2>&1; then
    trust=', {name: DYNAMO_TLS_CA, value: /trust/ca.crt}'
    mount=', {name: trust, mountPath: /trust, readOnly: true}'
    volume=", {name: trust, configMap: {name: $1-trust}}"
  fi
  if [ -n "${witness_token:-}" ]; then
    trust+=", {name: DYNAMO_TOKEN_FILE, value: /token/${witness_token#*/}}"
    mount+=', {name: token, mountPath: /token, readOnly: true}'
    volume+=", {name: token, secret: {secretName: ${witness_token%/*}}}"
  fi
  shift
  for argument in "$@"; do arguments+=", \"$argument\""; done
  applies <<Y
apiVersion: v1
kind: Pod
metadata: {name: witness, labels: {app: witness}}
spec:
  nodeSelector: {node-role.kubernetes.io/control-plane: ""}
  tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
  automountServiceAccountToken: false
  securityContext:
    {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: witness
    image: dynamo-k8s/witness:dev
    imagePullPolicy: Never
    args: [run$arguments, /history/history]
    env: [{name: DYNAMO_ENDPOINT, value: "$endpoint"}$trust]
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: history, mountPath: /history}$mount]
  volumes: [{name: history, emptyDir: {}}$volume]
Y
  witness_writes 50
}

# Acknowledged writes so far, as its log says every two seconds.
witness_wrote() { (k logs witness --tail=200 2>/dev/null || true) | sed -n 's/^\([0-9]*\) writes, .*/\1/p' | tail -n 1; }

# witness_writes MORE: the cluster takes so many more writes, whatever goes on.
witness_writes() {
  local before
  before=$(witness_wrote)
  wait_for 120 "$1 more writes are acknowledged" witness_has "$((${before:-0} + $1))"
}

witness_has() {
  local now
  now=$(witness_wrote)
  [ "${now:-0}" -ge "$1" ] || { echo "${now:-0} of $1 writes are acknowledged"; return 1; }
}

# witness_ends: it stops, reads all keys through all nodes, and is judged. Sets `report` (JSON) for who wants more.
witness_ends() {
  local code=0
  begins "the witness reads everything back, through every node"
  report=$(k exec witness -- dynamo-witness finish -o json /history/history) || code=$?
  [ -n "$report" ] || fails "the witness could not tell (exit code $code)"
  jq -r '"\(.seconds | floor) s, \(.keys) keys, \(.reads) reads, failed reads \(.reads_failed)",
    (.buckets | to_entries[] | "\(.key): \(.value.acknowledged) writes, failed \(.value.failed), p99 \(.value.p99_ms) ms, longest pause \(.value.longest_pause_ms | floor) ms at \(.value.longest_pause_at_s | floor) s"),
    "\(.lost | length) acknowledged writes lost", (.violations[] | "VIOLATION " + .)' <<<"$report" |
    while read -r line; do told "$line"; done
  mkdir -p "$DYNAMO_E2E_ARTEFACTS"
  printf '%s\n' "$report" >"$DYNAMO_E2E_ARTEFACTS/witness.json"
  local bucket
  for bucket in witness-sloppy witness-strict; do
    figure "$bucket-longest-pause-ms" "$(jq --arg bucket $bucket '.buckets[$bucket].longest_pause_ms | floor' <<<"$report")"
    figure "$bucket-failed" "$(writes_failed $bucket)"
  done
  [ $code -eq 0 ] || fails "the witness saw what must not be"
}

# writes_failed BUCKET [KIND]: how many, of `report`: of one kind of error, or of all.
writes_failed() { jq --arg bucket "$1" --arg kind "${2:-}" '[.buckets[$bucket].failed | to_entries[] | select($kind == "" or .key == $kind) | .value] | add // 0' <<<"$report"; }

# sloppy_holds WRITERS KILLS: a sloppy bucket refuses nothing. What a coordinator was at when it was killed, or when it stopped
# to answer, may have an unknown end, and that is one write of each writer at most.
sloppy_holds() {
  local all lost
  all=$(writes_failed witness-sloppy)
  lost=$(($(writes_failed witness-sloppy CoordinatorLost) + $(writes_failed witness-sloppy Timeout)))
  is $((all - lost)) 0 "writes that the sloppy bucket refused"
  at_most "$lost" $(($1 * $2)) "writes of the sloppy bucket that went with their coordinator"
}
