# shellcheck shell=bash
# The node image: Debian's packages, kind's own files, Kubernetes' binaries, and all images that a cluster begins with.
# Sourced by `build`, which has what is not assigned here.
# shellcheck disable=SC2154
image=dynamo-kind/node:v$KUBERNETES
slim=dynamo-kind/debian:slim
routes=docker.io/dynamo-kind/routes:v1
work=$cache/work
# What an image was made of stands in its label: an image of another make is not taken for it.
key=$(cd "$here" && cat versions node-image.sh manifests/* | sha256sum | cut -c1-16)

has() { [ "$(docker image inspect -f '{{index .Config.Labels "dynamo-kind"}}' "$1" 2>/dev/null)" = "$key" ]; }

debian() { # DIR PACKAGES: a minimal Debian root file system
  local mirror
  mirror=$( (grep -rhoE "https?://[^ ]+/debian/?( |$)" /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null || true) |
    head -1 | tr -d " ")
  mirror=${DYNAMO_DEBIAN_MIRROR:-$mirror}
  [ -n "$mirror" ] || die "no mirror of Debian in apt's sources: name one in DYNAMO_DEBIAN_MIRROR"
  rm -rf "$1"
  mkdir -p "$cache/debs"
  debootstrap --cache-dir="$cache/debs" --variant=minbase --include="$2" "$DEBIAN" "$1" "$mirror" ||
    { tail -n 20 "$1/debootstrap/debootstrap.log"; return 1; }
  rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale}
}

slim_image() {
  debian "$work/slim" iptables,nftables,kmod,conntrack,iproute2,ca-certificates
  tar -C "$work/slim" -c . | docker import --change "LABEL dynamo-kind=$key" - "$slim"
  rm -rf "$work/slim"
}

# mk TAG BASE ENTRYPOINT FILE...: files in /usr/local/bin on a base.
mk() {
  local tag=$1 base=$2 entrypoint=$3 dir
  shift 3
  dir=$(mktemp -d -p "$work")
  cp "$@" "$dir/"
  printf 'FROM %s\nCOPY . /usr/local/bin/\nENTRYPOINT %s\n' "$base" "$entrypoint" >"$dir.file"
  DOCKER_BUILDKIT=0 docker build -q -t "$tag" -f "$dir.file" "$dir"
  rm -rf "$dir" "$dir.file"
  tags+=("$tag")
}

# Under the names by which kubeadm and containerd ask for them.
cluster_images() {
  local want name
  tags=()
  for want in $("$bin/kubeadm" config images list --kubernetes-version "$release"); do
    name=${want##*/}; name=${name%%:*}
    case $name in
      kube-proxy) mk "$want" "$slim" '["kube-proxy"]' "$bin/kube-proxy" ;;
      # Its manifest gives arguments only.
      coredns) mk "$want" scratch '["/usr/local/bin/coredns"]' "$bin/coredns" ;;
      *) mk "$want" scratch "[\"/usr/local/bin/$name\"]" "$bin/$name" ;;
    esac
  done
  mk "$(sed -n 's/.*sandbox_image = "\(.*\)"/\1/p' "$kind_files/etc/containerd/config.toml")" scratch \
    '["/usr/local/bin/pause"]' "$bin/pause"
  mk "docker.io/rancher/local-path-provisioner:$LOCAL_PATH" "$slim" '["local-path-provisioner"]' "$bin/local-path-provisioner"
  mk "$routes" "$slim" '["sh","/usr/local/bin/routes.sh"]' "$bin/kubectl" "$here/manifests/routes.sh"
  docker tag "$slim" docker.io/library/busybox:stable
  tags+=(docker.io/library/busybox:stable)
  printf '%s\n' "${tags[@]}" >"$work/tags"
}

node_root() {
  local r=$work/node packages
  packages=systemd,systemd-sysv,dbus,conntrack,iptables,nftables,iproute2,iputils-ping,ethtool,util-linux,mount,kmod
  packages+=,libseccomp2,pigz,e2fsprogs,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins
  debian "$r" "$packages"
  cp -rT "$kind_files" "$r.files"
  chmod -R u+w,a+rX "$r.files"
  chmod 755 "$r.files"/usr/local/bin/* "$r.files"/kind/bin/*
  cp -rT "$r.files" "$r"
  rm -rf "$r.files"
  # A host without CAP_SYS_RESOURCE may not lower an OOM score: what pods ask for is cut to what is allowed.
  sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$r/etc/containerd/config.toml"
  chroot "$r" bash -eu <<'IN'
    find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
    cd /lib/systemd/system
    rm -f multi-user.target.wants/* /etc/systemd/system/*.wants/* local-fs.target.wants/* \
      sockets.target.wants/*udev* sockets.target.wants/*initctl* basic.target.wants/*
    echo ReadKMsg=no >>/etc/systemd/journald.conf
    ln -sf /usr/lib/systemd/systemd /sbin/init
    systemctl -q enable kubelet.service containerd.service undo-mount-hacks.service
    systemctl -q mask systemd-binfmt.service
    mkdir -p /etc/kubernetes/manifests /opt/cni/bin /kind/manifests
    cp /usr/lib/cni/* /opt/cni/bin/
    ln -sf /usr/bin/containerd /usr/bin/ctr /usr/bin/containerd-shim-runc-v2 /usr/local/bin/
    ln -sf /usr/sbin/runc /usr/local/sbin/runc
    hook='.hooks.createContainer[.hooks.createContainer|length] |= . + {"path":"/kind/bin/mount-product-files.sh"}'
    ctr oci spec | jq "$hook | del(.process.rlimits)" >/etc/containerd/cri-base.json
IN
  install -m755 -t "$r/usr/bin" "$bin/kubeadm" "$bin/kubelet" "$bin/kubectl"
  install -m755 "$here/manifests/crictl" "$r/usr/local/bin/crictl"
  printf %s "$release" >"$r/kind/version"
  cp "$here/manifests/default-cni.yaml" "$here/manifests/default-storage.yaml" "$r/kind/manifests/"
  tar -C "$r" -c . | docker import - dynamo-kind/node:root
  rm -rf "$r"
}

# The images are imported by a containerd that runs in what becomes the node image.
with_images() {
  local build=dynamo-kind-build tries=0 tags
  mapfile -t tags <"$work/tags"
  docker rm -fv "$build" 2>/dev/null || true
  docker run -d --privileged --name "$build" --tmpfs /run dynamo-kind/node:root sleep infinity
  docker exec -d "$build" containerd
  until docker exec "$build" ctr version; do
    tries=$((tries + 1))
    [ $tries -le 30 ] || { echo "containerd does not answer"; return 1; }
    sleep 1
  done
  docker save "${tags[@]}" | docker exec -i "$build" ctr -n k8s.io images import --no-unpack -
  docker exec "$build" ctr -n k8s.io images ls -q
  docker exec "$build" sh -c 'kill $(pidof containerd); sleep 1'
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]' --change 'CMD []' \
    --change 'ENV container=docker' --change "LABEL dynamo-kind=$key" "$build" "$image"
  docker rm -fv "$build"
  # Their names are those of others' images: they are in the node image, and nobody here is to take them for the originals.
  docker rmi dynamo-kind/node:root "${tags[@]}"
}

node_image() {
  has "$image" && { say "node image: $image (there already)"; return; }
  mkdir -p "$work"
  kind_files=$(cd "$work" && go mod download -json "sigs.k8s.io/kind@$KIND" | jq -r .Dir)/images/base/files
  rm -f "$cache"/stamps/image-*
  has "$slim" || step image-slim "$key" slim_image
  step image-cluster "$key" cluster_images
  step image-root "$key" node_root
  step image-node "$key" with_images
  rm -rf "$work"
}
