//! The conditions: words that scripts compare, so they are never called otherwise. (The reasons are the planner's.)

use std::fmt;

/// A kind of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionKind {
    /// Every key can be read and written with its bucket's R and W.
    Available,
    /// Something is being changed.
    Progressing,
    /// Something needs a person.
    Degraded,
    /// No change of the ring is under way.
    RingSettled,
    /// Every key is on all its replicas.
    DataSafe,
}

impl ConditionKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Available, Self::Progressing, Self::Degraded, Self::RingSettled, Self::DataSafe];

    /// As the condition's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::RingSettled => "RingSettled",
            Self::DataSafe => "DataSafe",
        }
    }
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_are_such_as_kubernetes_takes_and_differ() {
        let words = ConditionKind::ALL.map(ConditionKind::as_str);
        assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic())));
    }
}
