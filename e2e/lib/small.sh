# shellcheck shell=bash
# Small file systems as volumes: a tmpfs on a worker, offered as a static local volume. So that a disk can be full, and can
# grow: by this, which is what an external resizer would be. (ext4 on a loop grows only with CAP_SYS_RESOURCE, which not every
# host gives.) Sourced by lib/scenario.
# shellcheck disable=SC2154
small=/var/local/e2e-small

# The class of such volumes, and one of MIB on the worker of each zone.
small_volumes() { # MIB
  local zone machine
  undoes "$kubectl delete storageclass e2e-small"
  applies <<Y
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: e2e-small}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
Y
  for zone in a b c; do
    machine=$(worker_of "$zone")
    undoes "small_goes $zone $machine"
    docker exec "$machine" sh -euc "mkdir -p $small/mount; mount -t tmpfs -o size=$1m e2e-small $small/mount" ||
      fails "no file system on $machine"
    applies <<Y
apiVersion: v1
kind: PersistentVolume
metadata: {name: e2e-small-$zone}
spec:
  capacity: {storage: $1Mi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: e2e-small
  local: {path: $small/mount}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$machine]}]}]}
Y
  done
}

# Fills it but for so many MiB.
small_is_filled() { # ZONE MIB
  docker exec "$(worker_of "$1")" sh -euc "free=\$(df --output=avail -m $small/mount | tail -n 1)
    fallocate -l \$((free - $2))M $small/mount/filler"
  told "the volume of zone $1 has $2 MiB left"
}

# What a resizer does: the file system, and what the volume says of itself. Kubelet tells the claim.
small_grows() { # ZONE MIB
  docker exec "$(worker_of "$1")" sh -euc "mount -o remount,size=$2m $small/mount" || fails "zone $1 does not grow"
  "$kubectl" patch pv "e2e-small-$1" -p "{\"spec\": {\"capacity\": {\"storage\": \"$2Mi\"}}}" >/dev/null
  told "the volume of zone $1 has $2 MiB"
}

small_goes() { # ZONE MACHINE
  k delete pods -l dynamo-k8s.io/cluster --grace-period=0 --force --ignore-not-found
  k delete dynamoclusters --all --timeout=60s
  "$kubectl" delete pv "e2e-small-$1" --wait=false
  "$kubectl" patch pv "e2e-small-$1" --type merge -p '{"metadata": {"finalizers": null}}'
  docker exec "$2" sh -c "umount -l $small/mount; rm -rf $small"
}
