//! The key that seals contexts: made once, and never another, since what clients hold would be worth nothing. It is in the
//! Secret `<cluster>-secret`, which the nodes mount, with a copy in `<cluster>-ca`, so that either restores the other.

use dynamo_crd::names;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    ca::Unusable,
    objects::{AuthorityError, Kept, Objects},
    state::CONTEXT_KEY,
};
use crate::render;

/// The entry of the Secret that nodes mount.
pub const ENTRY: &str = render::CONTEXT_KEY;
const BYTES: usize = 32;

/// Whether there is nothing to make and nothing to restore.
pub(super) async fn is_kept(objects: &Objects) -> Result<bool, AuthorityError> {
    let first: Option<Secret> = objects.get(&names::context_key(&objects.cluster)).await?;
    let second: Option<Secret> = objects.get(&names::authority(&objects.cluster)).await?;
    let (Some(first), Some(second)) = (first, second) else { return Ok(false) };
    let (has, copied) = (first.data().remove(ENTRY), second.data().remove(CONTEXT_KEY));
    let owned = objects.is_rightly_owned(&first) && objects.is_rightly_owned(&second);
    Ok(owned && has == copied && has.is_some_and(|key| is_key(&key)))
}

/// Makes and restores it. Whether the authority's own object was written.
pub(super) async fn keep(objects: &Objects) -> Result<bool, AuthorityError> {
    let (mounted, copy) = (names::context_key(&objects.cluster), names::authority(&objects.cluster));
    let first: Option<Secret> = objects.get(&mounted).await?;
    let second: Option<Secret> = objects.get(&copy).await?;
    let of = |secret: &Option<Secret>, entry: &str| {
        secret.as_ref().and_then(|secret| secret.data().remove(entry)).filter(|key| is_key(key))
    };
    let (has, copied) = (of(&first, ENTRY), of(&second, CONTEXT_KEY));
    let version = |secret: &Option<Secret>| secret.as_ref().and_then(ResourceExt::resource_version);
    let wanted = match (&has, &copied) {
        (Some(key), _) | (None, Some(key)) => key.clone(),
        (None, None) => made()?,
    };
    for found in [&first, &second].into_iter().flatten() {
        if objects.own(found).await? {
            return Ok(true);
        }
    }
    // The copy first: nodes that have begun with a key can be told the same one again.
    let is_copied = copied.as_ref() == Some(&wanted);
    if !is_copied {
        let entries = [(CONTEXT_KEY.to_owned(), Some(wanted.clone()))].into();
        objects.put::<Secret>(&copy, version(&second).as_deref(), entries).await?;
    }
    if has.as_ref() != Some(&wanted) {
        let entries = [(ENTRY.to_owned(), Some(wanted))].into();
        objects.put::<Secret>(&mounted, version(&first).as_deref(), entries).await?;
    }
    Ok(!is_copied)
}

fn made() -> Result<String, Unusable> {
    let mut bytes = [0u8; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Unusable("no random number can be had".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_key(text: &str) -> bool {
    text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
