//! Asking before the target is emptied.

use std::{fmt, sync::Arc};

/// How it is found out whether the target may be emptied.
#[derive(Clone)]
pub enum Consent {
    /// It was agreed to beforehand.
    Given,
    /// Somebody is asked: the function gets the number of keys on the target, may block, and
    /// returns the answer.
    Ask(Arc<dyn Fn(u64) -> bool + Send + Sync>),
}

impl Consent {
    /// Whether a target that holds `keys` keys may be emptied.
    ///
    /// May be dropped while the question is open; the answer is then lost. A question that
    /// panics is a no.
    pub async fn to_flush(&self, keys: u64) -> bool {
        match self {
            Consent::Given => true,
            Consent::Ask(ask) => {
                let ask = Arc::clone(ask);
                let answer = tokio::task::spawn_blocking(move || ask(keys)).await;
                answer.unwrap_or(false)
            }
        }
    }
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Consent::Given => "Given",
            Consent::Ask(_) => "Ask",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_question_gets_the_number_of_keys() {
        assert!(Consent::Given.to_flush(7).await);
        let only_small = Consent::Ask(Arc::new(|keys| keys < 10));
        assert!(only_small.to_flush(7).await);
        assert!(!only_small.to_flush(70).await);
    }
}
