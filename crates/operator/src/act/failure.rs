//! How an action ends that does not succeed.

use std::fmt;

/// Why the rest of a plan was not tried: nothing is wrong by that, the next one is made of what is seen then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// Something of no plan was set right first.
    Mended,
    /// An object is another than it was seen to be.
    Stale(String),
    /// The turn that it belongs to is over.
    TurnIsOver,
    /// It took too long: what was seen is too old to act on.
    Late,
    /// What the pods would refer to is not all there.
    NotRendered,
    /// The nodes refused a change of the ring.
    Refused(String),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::Mended => f.write_str("something was set right first"),
            Dropped::Stale(what) => write!(f, "{what}: looking again"),
            Dropped::TurnIsOver => f.write_str("its turn is over"),
            Dropped::Late => f.write_str("it took too long: looking again"),
            Dropped::NotRendered => f.write_str("what the pods refer to is not all there"),
            Dropped::Refused(why) => write!(f, "the nodes refused it: {why}"),
        }
    }
}

/// Why something was not written, for the people who run the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The operator lacks a right.
    #[error("{0}: nothing was changed; give the operator's ServiceAccount that right")]
    Forbidden(String),
    /// Somebody else's object has a name that this cluster needs.
    #[error(
        "{kind} {name} is there and belongs to somebody else: nothing was changed; rename or delete it, or give this cluster another name"
    )]
    NotOurs {
        /// Of which kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server took a write for wrong.
    #[error("the API server refused to {verb} {resource} {name}: {message}; nothing was changed")]
    Refused {
        /// What was to be done.
        verb: &'static str,
        /// With what.
        resource: &'static str,
        /// Which.
        name: String,
        /// What it said.
        message: String,
    },
    /// The API server did not answer.
    #[error("the API server was not reached to {verb} {resource} {name} ({message}): it is tried again")]
    Unreached {
        /// What was to be done.
        verb: &'static str,
        /// With what.
        resource: &'static str,
        /// Which.
        name: String,
        /// How.
        message: String,
    },
    /// What is written down can't be read.
    #[error("{0}")]
    Record(String),
    /// There is nothing to do it with.
    #[error("{0}")]
    Impossible(String),
}

impl ActError {
    /// In one CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            ActError::Forbidden(_) => "Forbidden",
            ActError::NotOurs { .. } => "NameIsTaken",
            ActError::Refused { .. } => "Refused",
            ActError::Unreached { .. } => "Unreached",
            ActError::Record(_) => "RecordUnreadable",
            ActError::Impossible(_) => "Impossible",
        }
    }
}

/// How an action ends.
#[derive(Debug)]
pub enum Failure {
    /// It is not done, and the next plan may be another.
    Dropped(Dropped),
    /// It can't be done.
    Error(ActError),
}

impl From<Dropped> for Failure {
    fn from(dropped: Dropped) -> Failure {
        Failure::Dropped(dropped)
    }
}

impl From<ActError> for Failure {
    fn from(error: ActError) -> Failure {
        Failure::Error(error)
    }
}

/// The API server's word on a right that lacks: it names the verb, the resource and the namespace. Quotas and classes refuse with
/// the same code.
pub fn right_that_lacks(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) if status.is_forbidden() && status.message.contains(" cannot ") => {
            Some(&status.message)
        }
        _ => None,
    }
}

/// What the API server's answer means for a write.
pub fn of_kube(verb: &'static str, resource: &'static str, name: &str, error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        let message = error.to_string();
        return ActError::Unreached { verb, resource, name: name.to_owned(), message }.into();
    };
    // Not found, and there: what was seen is not what is.
    let stale = status.is_conflict() || status.is_already_exists() || status.is_not_found();
    if stale {
        return Dropped::Stale(format!("{resource} {name} is another by now ({})", status.message)).into();
    }
    if let Some(right) = right_that_lacks(error) {
        return ActError::Forbidden(right.to_owned()).into();
    }
    let message = status.message.clone();
    if status.code >= 500 || status.code == 429 {
        return ActError::Unreached { verb, resource, name: name.to_owned(), message }.into();
    }
    ActError::Refused { verb, resource, name: name.to_owned(), message }.into()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn of(code: u16, reason: &str, message: &str) -> Failure {
        let status = Status { code, reason: reason.into(), message: message.into(), ..Status::default() };
        of_kube("patch", "pods", "a", &kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_has_changed_since_it_was_seen_is_no_error() {
        for (code, reason) in [(409, "Conflict"), (409, "AlreadyExists"), (404, "NotFound")] {
            assert!(matches!(of(code, reason, ""), Failure::Dropped(Dropped::Stale(_))), "{reason}");
        }
    }

    #[test]
    fn a_right_that_lacks_is_told_from_a_quota_that_is_used_up() {
        let rbac = "pods \"a\" is forbidden: User \"x\" cannot patch resource \"pods\" in API group \"\" in the namespace \"n\"";
        let Failure::Error(ActError::Forbidden(told)) = of(403, "Forbidden", rbac) else { panic!("no right") };
        assert_eq!(told, rbac);
        let quota = of(403, "Forbidden", "pods \"a\" is forbidden: exceeded quota: q");
        assert!(matches!(quota, Failure::Error(ActError::Refused { .. })), "{quota:?}");
    }

    #[test]
    fn a_server_that_is_busy_is_tried_again() {
        for code in [429, 500, 503] {
            assert!(matches!(of(code, "", ""), Failure::Error(ActError::Unreached { .. })), "{code}");
        }
    }
}
