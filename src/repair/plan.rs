//! What is to be done about keys that differ.

use bytes::Bytes;

use crate::{
    keyspace::Db,
    verify::{Differing, Kind},
};

/// What is to be done about a key or a function library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It is copied from the source, over what the target has.
    Copy,
    /// It gets the expiry that the source has.
    SetExpiry,
    /// It is removed from the target.
    Remove,
    /// Nothing: only the target has it, and that it be removed was not asked for.
    Leave,
}

impl Action {
    /// Its name in plans.
    pub fn name(self) -> &'static str {
        match self {
            Action::Copy => "copy",
            Action::SetExpiry => "set expiry",
            Action::Remove => "remove",
            Action::Leave => "leave",
        }
    }
}

/// A key or a function library, and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its db.
    pub db: Db,
    /// Its name.
    pub key: Bytes,
    /// In what it differs.
    pub kinds: Vec<Kind>,
    /// The db of the target that has it in its place.
    pub other_db: Option<Db>,
    /// What is to be done.
    pub action: Action,
}

impl Step {
    /// Whether it is a key, and no function library.
    pub fn is_key(&self) -> bool {
        !self.kinds.contains(&Kind::Function)
    }
}

/// What is to be done about what differs, keys before function libraries, by db.
pub fn plan(differing: Vec<Differing>, deletes: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = differing
        .into_iter()
        .map(|one| Step {
            action: action(&one, deletes),
            db: one.db,
            key: one.key,
            kinds: one.kinds,
            other_db: one.other_db,
        })
        .collect();
    steps.sort_by(|a, b| (!a.is_key(), a.db, &a.key).cmp(&(!b.is_key(), b.db, &b.key)));
    steps
}

/// What is to be done about what differs in this.
pub(super) fn action(differing: &Differing, deletes: bool) -> Action {
    match differing.kinds[..] {
        [Kind::Expiry] => Action::SetExpiry,
        [Kind::OnlyOnTarget] if deletes => Action::Remove,
        [Kind::OnlyOnTarget] => Action::Leave,
        _ => Action::Copy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_rewritten_or_removed_that_need_not_be() {
        for (kinds, deletes, expected) in [
            (vec![Kind::Missing], false, Action::Copy),
            (vec![Kind::Value], true, Action::Copy),
            (vec![Kind::Value, Kind::Expiry], false, Action::Copy),
            (vec![Kind::Expiry], false, Action::SetExpiry),
            (vec![Kind::WrongDb], false, Action::Copy),
            (vec![Kind::OnlyOnTarget], false, Action::Leave),
            (vec![Kind::OnlyOnTarget], true, Action::Remove),
        ] {
            let differing = Differing {
                db: Db(0),
                key: "k".into(),
                kinds: kinds.clone(),
                other_db: None,
            };
            assert_eq!(action(&differing, deletes), expected, "{kinds:?} {deletes}");
        }
    }
}
