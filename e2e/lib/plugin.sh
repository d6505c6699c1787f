# shellcheck shell=bash
# The plugin, seen from outside: what it connects to. Sourced by lib/scenario.
# shellcheck disable=SC2154

# plugin_is_watched: from now on `kdw` runs the plugin where pods can be reached and their names are known (the control plane's
# network, and a container of the node's image), and `strays` is how many packets went from there straight to clients' ports.
# Where neither is so, as on most people's machines, who tries in vain looks like who does not try.
plugin_is_watched() { # CLUSTER
  watched=$DYNAMO_E2E_CLUSTER-control-plane
  watched_files=$(mktemp -d)
  "$kubectl" config view --raw --minify --flatten >"$watched_files/kubeconfig"
  sed -i "s#server: .*#server: https://127.0.0.1:6443#" "$watched_files/kubeconfig"
  k get pods -l "dynamo-k8s.io/cluster=$1" -o json |
    jq -r --arg nodes "$1-nodes.$namespace" '"127.0.0.1 localhost", (.items[] | .status.podIP + " " + ([
      .metadata.name + "." + $nodes + (".svc.cluster.local", ".svc", "")] | join(" ")))' >"$watched_files/hosts"
  undoes "docker exec $watched iptables -D OUTPUT -p tcp --dport 7400 ! -o lo -m comment --comment strays"
  undoes "rm -rf $watched_files"
  undoes "docker rm --force $watched-forwards"
  docker exec "$watched" iptables -I OUTPUT -p tcp --dport 7400 ! -o lo -m comment --comment strays
}

# in_watched PROGRAM [--detached] ARGUMENT...: one of the image, or the plugin.
in_watched() {
  local program=$1 how=--rm
  shift
  [ "$1" != --detached ] || { how="--detach --name $watched-forwards"; shift; }
  # shellcheck disable=SC2086  # words
  docker run $how --network "container:$watched" --user 0 -e KUBECONFIG=/files/kubeconfig \
    -e DYNAMO_ENDPOINT -e DYNAMO_TLS_CA -e DYNAMO_TLS_SERVER_NAME \
    -v "$watched_files:/files:ro" -v "$watched_files/hosts:/etc/hosts:ro" \
    -v "$(realpath "$(tools)")/kubectl-dynamo:/usr/local/bin/kubectl-dynamo:ro" \
    --entrypoint "$program" dynamo-k8s/node:dev "$@"
}
kdw() { in_watched kubectl-dynamo --namespace "$namespace" "$@"; }
strays() { docker exec "$watched" iptables -L OUTPUT -nvx | awk '/strays/ { print $1 }'; }

# watched_directly CLUSTER KEY: reads it there through a forwarded port, as a client that may go elsewhere too.
watched_directly() {
  local port=17400
  k get configmap "$1-trust" -o jsonpath='{.data.ca\.crt}' >"$watched_files/ca.crt"
  in_watched kubectl-dynamo --detached --namespace "$namespace" forward --port $port >/dev/null
  wait_for 30 "a port is forwarded" tells "127.0.0.1:$port" docker logs "$watched-forwards"
  DYNAMO_ENDPOINT=127.0.0.1:$port DYNAMO_TLS_CA=/files/ca.crt DYNAMO_TLS_SERVER_NAME=$1.$namespace.svc in_watched dynamo get "$2"
}

# kd_forwards FILE [ARGUMENT...]: a port is forwarded from now on, and FILE says how it is used. Sets `forward`, the process.
kd_forwards() {
  local file=$1
  shift
  PATH=$(tools):$(dirname "$kubectl"):$PATH "$kubectl" dynamo --namespace "$namespace" "$@" forward --port 0 >"$file" &
  forward=$!
  undoes "kill $forward"
  wait_for 60 "a port is forwarded" grep -q DYNAMO_ENDPOINT "$file"
}
