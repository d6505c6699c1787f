//! Buckets of the spec: created through any node, once; what they are cannot change.

use std::{collections::BTreeSet, fmt, time::Duration};

use dynamo_crd::{BucketMode, BucketSettings, DynamoCluster};
use dynamo_wire::v1::{self, CreateBucketRequest, ListBucketsRequest, admin_client::AdminClient};
use tonic::transport::Channel;

use crate::status::Trouble;

/// Of one question.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Those of the spec that are there as it says.
    pub there: BTreeSet<String>,
    /// Those that were created now.
    pub created: Vec<String>,
    /// Those that are there otherwise, or could not be.
    pub troubles: Vec<Trouble>,
}

/// Whether anybody has to be asked: all of the spec's are there otherwise, as status has it.
pub fn is_settled(cluster: &DynamoCluster) -> bool {
    let there = cluster.status.as_ref().map(|status| status.buckets.as_slice()).unwrap_or_default();
    cluster.spec.buckets.iter().all(|bucket| there.contains(&bucket.name))
}

/// Creates what is missing, through the first of these nodes that answers. None answers: nothing is there to be told.
pub async fn keep(cluster: &DynamoCluster, nodes: &[Channel]) -> Option<Kept> {
    for node in nodes {
        let mut admin = AdminClient::new(node.clone());
        let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, admin.list_buckets(ListBucketsRequest {})).await else {
            continue;
        };
        return Some(create(cluster, &mut admin, &found.into_inner().buckets).await);
    }
    None
}

async fn create(cluster: &DynamoCluster, admin: &mut AdminClient<Channel>, found: &[v1::Bucket]) -> Kept {
    let mut kept = Kept::default();
    for bucket in &cluster.spec.buckets {
        let wanted = of(&bucket.name, cluster.spec.bucket_settings(bucket));
        match found.iter().find(|other| other.name == bucket.name) {
            Some(other) if *other == wanted => drop(kept.there.insert(bucket.name.clone())),
            Some(other) => kept.troubles.push(conflict(&wanted, Some(other))),
            None => {
                let request = CreateBucketRequest { bucket: Some(wanted.clone()) };
                match tokio::time::timeout(PATIENCE, admin.create_bucket(request)).await {
                    Ok(Ok(answer)) => {
                        kept.there.insert(bucket.name.clone());
                        if answer.into_inner().created {
                            kept.created.push(bucket.name.clone());
                        }
                    }
                    Ok(Err(status)) if status.code() == tonic::Code::AlreadyExists => {
                        kept.troubles.push(conflict(&wanted, None));
                    }
                    // The ring may be about to change, or a majority away: it is tried again.
                    Ok(Err(status)) => {
                        tracing::warn!(bucket = bucket.name, "a bucket was not created: {}", status.message())
                    }
                    Err(_) => tracing::warn!(bucket = bucket.name, "a bucket was not created in time"),
                }
            }
        }
    }
    kept
}

/// As the nodes have it.
fn of(name: &str, settings: BucketSettings) -> v1::Bucket {
    let mode = match settings.mode {
        BucketMode::Siblings => v1::BucketMode::Siblings,
        BucketMode::LastWriteWins => v1::BucketMode::LastWriteWins,
    };
    v1::Bucket {
        name: name.to_owned(),
        mode: mode.into(),
        r: settings.r.into(),
        w: settings.w.into(),
        strict: settings.strict,
    }
}

/// Settings in words.
struct Words<'a>(&'a v1::Bucket);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.0.mode() {
            v1::BucketMode::LastWriteWins => "last-write-wins",
            _ => "siblings",
        };
        let sloppy = if self.0.strict { "strict" } else { "sloppy" };
        write!(f, "{mode}, r {}, w {}, {sloppy}", self.0.r, self.0.w)
    }
}

fn conflict(wanted: &v1::Bucket, found: Option<&v1::Bucket>) -> Trouble {
    let is = found.map(|found| format!(" ({})", Words(found))).unwrap_or_default();
    let message = format!(
        "bucket {} is there with other settings{is} than the spec has ({}): what a bucket is cannot change, so it stays as \
         it is; write its settings into spec.buckets, or give the other one another name",
        wanted.name,
        Words(wanted)
    );
    Trouble { reason: "BucketConflict".to_owned(), message }
}

#[cfg(test)]
mod tests {
    use dynamo_crd::{Bucket, DynamoClusterSpec, DynamoClusterStatus};

    use super::*;

    fn cluster(there: &[&str]) -> DynamoCluster {
        let bucket = Bucket { name: "carts".to_owned(), mode: BucketMode::Siblings, r: None, w: Some(3), sloppy: None };
        let spec = DynamoClusterSpec { buckets: vec![bucket], ..DynamoClusterSpec::default() };
        let mut cluster = DynamoCluster::new("shop", spec);
        let buckets = there.iter().map(|name| (*name).to_owned()).collect();
        cluster.status = Some(DynamoClusterStatus { buckets, ..DynamoClusterStatus::default() });
        cluster
    }

    #[test]
    fn nobody_is_asked_where_all_buckets_are_there() {
        assert!(!is_settled(&cluster(&[])) && is_settled(&cluster(&["carts", "other"])));
    }

    #[test]
    fn a_bucket_that_is_another_is_told_with_both_sides_settings() {
        let cluster = cluster(&[]);
        let wanted = of("carts", cluster.spec.bucket_settings(&cluster.spec.buckets[0]));
        let found = v1::Bucket { w: 1, strict: true, ..wanted.clone() };
        let told = conflict(&wanted, Some(&found)).message;
        assert!(told.contains("siblings, r 2, w 1, strict") && told.contains("siblings, r 2, w 3, sloppy"), "{told}");
    }
}
