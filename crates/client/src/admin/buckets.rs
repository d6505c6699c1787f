//! Buckets: created, listed, described. Creating one a second time is no other bucket, so any of this may be asked twice.

use dynamo_wire::v1::{
    self, CreateBucketRequest, DescribeBucketRequest, ListBucketsRequest, admin_client::AdminClient,
};
use tonic::Response;

use crate::{client::Client, error::Error, line::Line};

impl Client {
    /// Creates a bucket; false if it was there with the same settings.
    ///
    /// # Errors
    /// It exists with other settings, or can't be.
    pub async fn create_bucket(&self, bucket: v1::Bucket) -> Result<(v1::Bucket, bool), Error> {
        let request = CreateBucketRequest { bucket: Some(bucket) };
        let create =
            async |mut admin: AdminClient<Line>| admin.create_bucket(request.clone()).await.map(Response::into_inner);
        let response = self.admin(create).await?;
        Ok((response.bucket.unwrap_or_default(), response.created))
    }

    /// All buckets.
    ///
    /// # Errors
    /// No node answers.
    pub async fn list_buckets(&self) -> Result<Vec<v1::Bucket>, Error> {
        let list = async |mut admin: AdminClient<Line>| {
            admin.list_buckets(ListBucketsRequest {}).await.map(Response::into_inner)
        };
        Ok(self.admin(list).await?.buckets)
    }

    /// One bucket.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn describe_bucket(&self, name: &str) -> Result<v1::Bucket, Error> {
        let request = DescribeBucketRequest { name: name.to_owned() };
        let describe =
            async |mut admin: AdminClient<Line>| admin.describe_bucket(request.clone()).await.map(Response::into_inner);
        Ok(self.admin(describe).await?.bucket.unwrap_or_default())
    }
}
