# shellcheck shell=bash
# Nodes without an operator: a StatefulSet per zone, as a person would write them. For what concerns the image and the
# machines, not the operator. Sourced by lib/scenario.
# shellcheck disable=SC2154

# plain_cluster NAME: a node in each of the zones a, b and c.
plain_cluster() {
  local name=$1 zone members=''
  for zone in a b c; do
    members+="        - {name: $name-$zone-0, zone: $zone, address: \"$name-$zone-0.$name-nodes:8400\","
    members+=" client_address: \"$name-$zone-0.$name-nodes:7400\"}"$'\n'
  done
  applies <<Y
apiVersion: v1
kind: Service
metadata: {name: $name-nodes}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: $name}
  ports: [{name: client, port: 7400}, {name: peer, port: 8400}, {name: http, port: 9400}]
---
apiVersion: v1
kind: Service
metadata: {name: $name}
spec:
  selector: {app: $name}
  ports: [{name: client, port: 7400}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: $name-config}
data:
  node.yaml: |
    cluster:
      name: $namespace/$name
      members:
$members
    log: {format: json}
    tls: {mode: plaintext}
    storage: {cache_mib: 16, memtable_mib: 8, reserve_mib: 16}
Y
  for zone in a b c; do plain_zone "$name" "$zone" | applies; done
}

plain_zone() { # NAME ZONE
  cat <<Y
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $1-$2}
spec:
  serviceName: $1-nodes
  replicas: 1
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: $1, zone: $2}}
  template:
    metadata: {labels: {app: $1, zone: $2}}
    spec:
      nodeSelector: {topology.kubernetes.io/zone: $2}
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 30
      # A machine that is gone is noticed by who waits for its pods: sooner than by default, in tests.
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30}
      securityContext:
        {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: node
        image: dynamo-k8s/node:dev
        imagePullPolicy: Never
        args: [--config, /etc/dynamo/node.yaml]
        env:
        - {name: DYNAMO_NODE__NODE__NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        ports: [{name: client, containerPort: 7400}, {name: peer, containerPort: 8400}, {name: http, containerPort: 9400}]
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 2}
        livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 10, failureThreshold: 6}
        resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 512Mi}}
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - {name: data, mountPath: /var/lib/dynamo}
        - {name: config, mountPath: /etc/dynamo}
      volumes:
      - {name: config, configMap: {name: $1-config}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
Y
}

# All of its nodes are ready: for wait_for.
plain_ready() { ready "statefulset/$1-a" 1 && ready "statefulset/$1-b" 1 && ready "statefulset/$1-c" 1; }

# Each node sees each other one up, and nobody holds hints: for wait_for.
plain_settled() { # NAME
  local zone said
  for zone in a b c; do
    said=$(k exec "$1-$zone-0" -- dynamo status -o json) || { echo "$1-$zone-0 does not answer"; return 1; }
    said=$(jq -r '[.nodes[] | select(.state != "up" or .hints != 0) | "\(.id) is \(.state) and holds \(.hints) hints"] | first // ""' <<<"$said")
    [ -z "$said" ] || { echo "as $1-$zone-0 sees it, $said"; return 1; }
  done
}
