//! Every rule that the API server checks beyond types and bounds: in CEL, with what a person is told who breaks it.
//!
//! A rule sees one object, never its status nor another object. One that compares with what was there before stands where
//! both sides always are (at the spec, whose parts have defaults), so that taking a key out and putting
//! another value in later is caught as well as changing it. Lists have bounds, for the API server
//! estimates what a rule may cost at worst and refuses the whole definition when that is too much.

use kube::core::{Reason, Rule};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// What tests call it.
    pub name: &'static str,
    /// What has to hold, in CEL.
    pub rule: &'static str,
    /// What is wrong otherwise, why, and what to do.
    pub message: &'static str,
    /// The field below the place of the rule that is blamed; empty: that place.
    pub field: &'static str,
    /// Whether it compares with what was there before.
    pub transition: bool,
}

impl From<Check> for Rule {
    fn from(check: Check) -> Self {
        let rule = Rule::new(check.rule).message(check.message);
        let rule = if check.transition { rule.reason(Reason::FieldValueForbidden) } else { rule };
        if check.field.is_empty() { rule } else { rule.field_path(check.field) }
    }
}

const fn always(name: &'static str, field: &'static str, rule: &'static str, message: &'static str) -> Check {
    Check { name, rule, message, field, transition: false }
}

const fn on_change(name: &'static str, field: &'static str, rule: &'static str, message: &'static str) -> Check {
    Check { name, rule, message, field, transition: true }
}

/// All of them.
pub const ALL: &[Check] = &[
    CLUSTER_NAME,
    CLUSTER_NAME_OF_NODES,
    N_NEEDS_REPLICAS,
    REPLICAS_NEED_PARTITIONS,
    ZONES_NEED_REPLICAS,
    ZONES_DIFFER,
    ZONE_NAME,
    ZONE_STAYS_WHERE_IT_IS,
    R_WITHIN_N,
    W_WITHIN_N,
    N_IS_FIXED,
    PARTITIONS_ARE_A_POWER_OF_TWO,
    PARTITIONS_ARE_FIXED,
    SIZE_IS_A_SIZE,
    VOLUMES_DO_NOT_SHRINK,
    ZONE_VOLUMES_DO_NOT_SHRINK,
    CLASS_IS_FIXED,
    ZONE_CLASS_IS_FIXED,
    IMAGE_OR_VERSION,
    SECRET_IS_NAMED,
    SECRET_IS_FOR_MODE_SECRET,
    CLIENT_AUTH_NEEDS_TLS,
    TOKENS_ARE_NAMED,
    TOKENS_ARE_FOR_MODE_TOKEN,
    CA_OUTLIVES_CERTIFICATES,
    PLAINTEXT_IS_FIXED,
    BUCKET_IS_NOT_DEFAULT,
    BUCKET_R_WITHIN_N,
    BUCKET_W_WITHIN_N,
    BUCKETS_ARE_FIXED,
    CONFIG_OF_OTHERS,
    LABELS_OF_OTHERS,
    ANNOTATIONS_OF_OTHERS,
    ADVERTISED_NAMES_POD,
];

// At the root.

/// Pods are called CLUSTER-ZONE-ORDINAL, and a revision label of theirs has 11 characters more than CLUSTER-ZONE, of 63.
pub const CLUSTER_NAME: Check = always(
    "cluster name",
    "",
    "size(self.metadata.name) <= 28 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name is part of the names of Services and pods: choose one of up to 28 characters a-z, 0-9 and -, that begins \
     with a letter and does not end with -",
);

/// The Services of the clusters `a` and `a-nodes` would be one.
pub const CLUSTER_NAME_OF_NODES: Check = always(
    "cluster name of nodes",
    "",
    "!self.metadata.name.endsWith('-nodes')",
    "metadata.name ends with -nodes, and so does the Service under which another cluster's nodes find each other: choose \
     another name",
);

// At the spec: numbers that have to fit each other.

/// N different nodes.
pub const N_NEEDS_REPLICAS: Check = always(
    "n needs replicas",
    ".replicas",
    "self.replication.factor <= self.replicas",
    "each key has replication.factor replicas on as many nodes, and replicas is less: set replicas to replication.factor or more (a \
     new cluster of one node needs replication.factor: 1)",
);

/// A member without a token is none.
pub const REPLICAS_NEED_PARTITIONS: Check = always(
    "replicas need partitions",
    ".replicas",
    "self.replicas <= self.partitions",
    "each node needs a partition, and replicas is more than partitions: lower replicas; if it has to grow that far, create a \
     cluster with more partitions, since they are fixed",
);

/// An empty zone is a mistake.
pub const ZONES_NEED_REPLICAS: Check = always(
    "zones need replicas",
    ".zones",
    "!has(self.zones) || size(self.zones) <= self.replicas",
    "each zone gets a node, and there are more zones than replicas: raise replicas, or list fewer zones",
);

/// Zones that are one place do not spread replicas. (Those that are anywhere are not meant to.)
pub const ZONES_DIFFER: Check = always(
    "zones differ",
    ".zones",
    "!has(self.zones) || self.zones.all(z, has(z.nodeLabelValue) && z.nodeLabelValue == '' || \
     self.zones.exists_one(o, (has(o.nodeLabelValue) ? o.nodeLabelValue : o.name) == \
     (has(z.nodeLabelValue) ? z.nodeLabelValue : z.name)))",
    "two zones are the same Kubernetes nodes, so a key's replicas would fail together: give each zone a nodeLabelValue of \
     its own",
);

/// Volumes do not move between Kubernetes zones.
pub const ZONE_STAYS_WHERE_IT_IS: Check = on_change(
    "zone stays where it is",
    ".zones",
    "!has(self.zones) || !has(oldSelf.zones) || self.zones.all(z, oldSelf.zones.all(o, o.name != z.name || \
     (has(z.nodeLabelValue) ? z.nodeLabelValue : z.name) == (has(o.nodeLabelValue) ? o.nodeLabelValue : o.name)))",
    "a zone's volumes cannot move to other Kubernetes nodes: set its nodeLabelValue back; to move, list a zone with another \
     name and the new nodeLabelValue, and take this one out",
);

/// Majorities would not meet if some counted with another N.
pub const N_IS_FIXED: Check = on_change(
    "n is fixed",
    ".replication.factor",
    "self.replication.factor == oldSelf.replication.factor",
    "replication.factor is fixed when the cluster is created: set it back; for another number of replicas create another cluster \
     and copy the data",
);

/// §6.2, strategy 3: Q is the ring's.
pub const PARTITIONS_ARE_A_POWER_OF_TWO: Check = always(
    "partitions are a power of two",
    ".partitions",
    "self.partitions in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]",
    "partitions is a power of two: take 256, or for a cluster meant to grow past 64 nodes 1024",
);

/// §6.2, strategy 3: Q is fixed.
pub const PARTITIONS_ARE_FIXED: Check = on_change(
    "partitions are fixed",
    ".partitions",
    "self.partitions == oldSelf.partitions",
    "partitions is fixed when the cluster is created: set it back; for more of them create another cluster and copy the data",
);

/// One says which image.
pub const IMAGE_OR_VERSION: Check = always(
    "image or version",
    ".image",
    "!has(self.image) || !has(self.version)",
    "image names a whole image, version only its release: give one of them",
);

/// What the operator sets is not set twice. (What is no key of the node's at all is found by the operator: a regular
/// expression over keys, whose length has no bound, may cost more than a rule is allowed to.)
pub const CONFIG_OF_OTHERS: Check = always(
    "config of others",
    ".config",
    "!has(self.config) || self.config.all(k, !k.startsWith('cluster.') && !k.startsWith('node.') && \
     !k.startsWith('tls.') && !(k in ['storage.engine', 'storage.durability', 'background.p99_target_ms']))",
    "config has a key that the operator sets: leave out cluster.*, node.*, tls.* and storage.engine, and say in tls, \
     durability and slo.p99Ms what tls.*, storage.durability and background.p99_target_ms would",
);

// At the spec: volumes, before and after.

/// Kubernetes grows volumes and never shrinks them.
pub const VOLUMES_DO_NOT_SHRINK: Check = on_change(
    "volumes do not shrink",
    ".storage.size",
    "quantity(self.storage.size).compareTo(quantity(oldSelf.storage.size)) >= 0",
    "a volume cannot shrink: set storage.size back or higher; for smaller volumes list a new zone with a smaller \
     storage.size of its own and take the old zone out",
);

/// The same for what zones say, whether they were listed or discovered, before and after.
pub const ZONE_VOLUMES_DO_NOT_SHRINK: Check = on_change(
    "zone volumes do not shrink",
    ".zones",
    "has(self.zones) \
     ? (has(oldSelf.zones) \
       ? self.zones.all(z, oldSelf.zones.all(o, o.name != z.name || \
         quantity(has(z.storage) && has(z.storage.size) ? z.storage.size : self.storage.size).compareTo(\
         quantity(has(o.storage) && has(o.storage.size) ? o.storage.size : oldSelf.storage.size)) >= 0)) \
       : self.zones.all(z, \
         quantity(has(z.storage) && has(z.storage.size) ? z.storage.size : self.storage.size).compareTo(\
         quantity(oldSelf.storage.size)) >= 0)) \
     : (!has(oldSelf.zones) || oldSelf.zones.all(o, \
         quantity(self.storage.size).compareTo(\
         quantity(has(o.storage) && has(o.storage.size) ? o.storage.size : oldSelf.storage.size)) >= 0))",
    "the volumes of a zone cannot shrink: set its storage.size back or higher; for smaller volumes list a zone with another \
     name, and when the zones were not listed before, list those that there are first, in an edit of its own",
);

/// A volume keeps its class.
pub const CLASS_IS_FIXED: Check = on_change(
    "class is fixed",
    ".storage.storageClassName",
    "(has(self.storage.storageClassName) ? self.storage.storageClassName : '') == \
     (has(oldSelf.storage.storageClassName) ? oldSelf.storage.storageClassName : '')",
    "volumes keep their storage class: set storage.storageClassName back (or leave it out, if it was); for another class list \
     a new zone with a storage.storageClassName of its own and take the old zone out",
);

/// The same for what zones say.
pub const ZONE_CLASS_IS_FIXED: Check = on_change(
    "zone class is fixed",
    ".zones",
    "has(self.zones) \
     ? (has(oldSelf.zones) \
       ? self.zones.all(z, oldSelf.zones.all(o, o.name != z.name || \
         (has(z.storage) && has(z.storage.storageClassName) ? z.storage.storageClassName : '') == \
         (has(o.storage) && has(o.storage.storageClassName) ? o.storage.storageClassName : ''))) \
       : self.zones.all(z, !has(z.storage) || !has(z.storage.storageClassName))) \
     : (!has(oldSelf.zones) || oldSelf.zones.all(o, !has(o.storage) || !has(o.storage.storageClassName)))",
    "the volumes of a zone keep their storage class: set its storage.storageClassName back (or leave it out, if it was); for \
     another class list a zone with another name, and when the zones were not listed before, list those that there are \
     first, in an edit of its own",
);

// At the spec: plaintext and buckets, before and after.

/// Nodes that speak differently do not understand each other.
pub const PLAINTEXT_IS_FIXED: Check = on_change(
    "plaintext is fixed",
    ".tls.mode",
    "(self.tls.mode == 'Plaintext') == (oldSelf.tls.mode == 'Plaintext')",
    "nodes with certificates and nodes without cannot talk to each other while they restart one by one: set tls.mode back, \
     or create another cluster with the mode that you want and copy the data",
);

/// Known in every cluster, with settings that are never told to anybody.
pub const BUCKET_IS_NOT_DEFAULT: Check = always(
    "bucket is not default",
    ".name",
    "self.name != 'default'",
    "every cluster has the bucket default, with siblings, majorities and sloppy quorums, and it cannot be another: leave it \
     out, and give your bucket another name",
);

/// §4.5.
pub const BUCKET_R_WITHIN_N: Check = always(
    "bucket r within n",
    ".buckets",
    "!has(self.buckets) || self.buckets.all(b, !has(b.r) || b.r <= self.replication.factor)",
    "a bucket's r is more than replication.factor, and a read cannot wait for more replicas than there are: choose 1 to \
     replication.factor",
);

/// §4.5.
pub const BUCKET_W_WITHIN_N: Check = always(
    "bucket w within n",
    ".buckets",
    "!has(self.buckets) || self.buckets.all(b, !has(b.w) || b.w <= self.replication.factor)",
    "a bucket's w is more than replication.factor, and a write cannot wait for more replicas than there are: choose 1 to \
     replication.factor",
);

/// What an acknowledged write was promised is kept. What a bucket does not say comes from `replication`, so that counts.
pub const BUCKETS_ARE_FIXED: Check = on_change(
    "buckets are fixed",
    ".buckets",
    "!has(self.buckets) || !has(oldSelf.buckets) || self.buckets.all(b, oldSelf.buckets.all(o, b.name != o.name || (\
     b.mode == o.mode && \
     (has(b.r) ? b.r : has(self.replication.r) ? self.replication.r : self.replication.factor / 2 + 1) == \
     (has(o.r) ? o.r : has(oldSelf.replication.r) ? oldSelf.replication.r : oldSelf.replication.factor / 2 + 1) && \
     (has(b.w) ? b.w : has(self.replication.w) ? self.replication.w : self.replication.factor / 2 + 1) == \
     (has(o.w) ? o.w : has(oldSelf.replication.w) ? oldSelf.replication.w : oldSelf.replication.factor / 2 + 1) && \
     (has(b.sloppy) ? b.sloppy : self.replication.sloppy) == (has(o.sloppy) ? o.sloppy : oldSelf.replication.sloppy))))",
    "what a bucket is cannot change: set its mode, r, w and sloppy back, or create a bucket with another name; to change \
     replication.r, w or sloppy for new buckets, write the present values into the buckets that there are",
);

// At parts of the spec.

/// §4.5.
pub const R_WITHIN_N: Check = always(
    "r within n",
    ".r",
    "!has(self.r) || self.r <= self.factor",
    "replication.r is more than replication.factor, and a read cannot wait for more replicas than there are: choose 1 to \
     replication.factor, or leave it out for a majority",
);

/// §4.5.
pub const W_WITHIN_N: Check = always(
    "w within n",
    ".w",
    "!has(self.w) || self.w <= self.factor",
    "replication.w is more than replication.factor, and a write cannot wait for more replicas than there are: choose 1 to \
     replication.factor, or leave it out for a majority",
);

/// Part of the names of a StatefulSet and its pods.
pub const ZONE_NAME: Check = always(
    "zone name",
    ".name",
    "self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "a zone's name is part of its pods' names: choose characters a-z, 0-9 and -, with no - at either end; what the label of \
     the Kubernetes nodes says goes into nodeLabelValue",
);

/// A quantity of bytes. 256 MiB are kept free, so that a full node can be mended.
pub const SIZE_IS_A_SIZE: Check = always(
    "size is a size",
    "",
    "isQuantity(self) && quantity(self).compareTo(quantity('512Mi')) >= 0",
    "a volume's size is a number with a unit, 512Mi or more: write it like 20Gi",
);

/// Mode and Secret belong together.
pub const SECRET_IS_NAMED: Check = always(
    "secret is named",
    ".secretName",
    "self.mode != 'Secret' || has(self.secretName)",
    "tls.mode Secret takes certificates from a Secret: say which in tls.secretName",
);

/// Mode and Secret belong together.
pub const SECRET_IS_FOR_MODE_SECRET: Check = always(
    "secret is for mode secret",
    ".secretName",
    "self.mode == 'Secret' || !has(self.secretName)",
    "tls.secretName is used with tls.mode Secret only: set the mode, or leave tls.secretName out",
);

/// A token in plaintext is no secret.
pub const CLIENT_AUTH_NEEDS_TLS: Check = always(
    "client authentication needs tls",
    ".clientAuth",
    "self.mode != 'Plaintext' || self.clientAuth == 'None'",
    "in plaintext there are no certificates, and anyone on the way can read a token: take another tls.mode, or leave \
     tls.clientAuth out",
);

/// Tokens that nobody has let nobody in.
pub const TOKENS_ARE_NAMED: Check = always(
    "tokens are named",
    ".tokensSecretName",
    "self.clientAuth != 'Token' || has(self.tokensSecretName)",
    "tls.clientAuth Token takes tokens from a Secret: say which in tls.tokensSecretName",
);

/// Tokens that are not asked for let nobody in.
pub const TOKENS_ARE_FOR_MODE_TOKEN: Check = always(
    "tokens are for client authentication by token",
    ".tokensSecretName",
    "self.clientAuth == 'Token' || !has(self.tokensSecretName)",
    "tls.tokensSecretName is used with tls.clientAuth Token only: set that, or leave tls.tokensSecretName out",
);

/// What a CA that is over has signed is not valid.
pub const CA_OUTLIVES_CERTIFICATES: Check = always(
    "ca outlives certificates",
    ".caDays",
    "self.caDays >= 2 * self.certificateDays",
    "the certificate authority has to outlive what it signs: set tls.caDays to at least twice tls.certificateDays",
);

/// Labels that the operator selects by.
pub const LABELS_OF_OTHERS: Check = always(
    "labels of others",
    ".labels",
    "!has(self.labels) || self.labels.all(k, !k.startsWith('dynamo-k8s.io/') && !k.startsWith('app.kubernetes.io/'))",
    "labels that begin with dynamo-k8s.io/ or app.kubernetes.io/ are the operator's: choose other names",
);

/// Annotations that the operator compares.
pub const ANNOTATIONS_OF_OTHERS: Check = always(
    "annotations of others",
    ".annotations",
    "!has(self.annotations) || self.annotations.all(k, !k.startsWith('dynamo-k8s.io/'))",
    "annotations that begin with dynamo-k8s.io/ are the operator's: choose other names",
);

/// One address for all nodes would be none of them.
pub const ADVERTISED_NAMES_POD: Check = always(
    "advertised address names the pod",
    "",
    "self.contains('{pod}') && self.matches('^[-.a-zA-Z0-9{}]+:[0-9]{1,5}$')",
    "each node has an address of its own: write it as host:port with {pod} in it, such as {pod}.dynamo.example.com:7400",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compares_with_the_old_object_exactly_if_it_is_said_to() {
        for check in ALL {
            assert_eq!(check.rule.contains("oldSelf"), check.transition, "{}", check.name);
        }
    }

    #[test]
    fn no_rule_reads_the_status() {
        assert!(ALL.iter().all(|check| !check.rule.contains("status")));
    }

    #[test]
    fn every_message_says_what_to_do_on_one_line() {
        for check in ALL {
            assert!(check.message.contains(": "), "{}: first what is wrong, then what to do", check.name);
            assert!(!check.message.contains('\n') && !check.message.contains("  "), "{}", check.name);
            assert!((40..=400).contains(&check.message.len()), "{}: {}", check.name, check.message.len());
        }
    }

    #[test]
    fn names_and_messages_tell_rules_apart() {
        let mut names: Vec<_> = ALL.iter().flat_map(|check| [check.name, check.message]).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * ALL.len());
    }
}
