//! The nodes' ServiceAccount. It has no rights: nodes do not talk to the API server, and the token that they prove themselves to
//! the signer with is for nobody else.

use dynamo_crd::names;
use k8s_openapi::api::core::v1::ServiceAccount;

use super::Basis;

pub(super) fn nodes(basis: &Basis<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: basis.metadata(names::node_account(&basis.resource())),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
