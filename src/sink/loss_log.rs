//! What could not be said on the target: counted, named, or the end of the run.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    keyspace::{Db, Escaped, Loss},
    net::Endpoint,
};

use super::{
    error::{Error, ErrorKind},
    lossy::Lossy,
    policy::OnLossy,
};

/// Losses that are named in the log, per kind; all are counted.
const NAMED_MAX: u64 = 100;

/// Decides about losses and remembers them.
#[derive(Debug)]
pub struct LossLog {
    endpoint: Endpoint,
    policy: OnLossy,
    counts: BTreeMap<Loss, u64>,
}

impl LossLog {
    /// Makes an empty log.
    pub fn new(endpoint: Endpoint, policy: OnLossy) -> LossLog {
        LossLog {
            endpoint,
            policy,
            counts: BTreeMap::new(),
        }
    }

    /// Records that something of `key` is left out.
    ///
    /// # Errors
    /// [`ErrorKind::Lossy`] when the policy is to fail.
    pub fn lose(&mut self, loss: Loss, db: Db, key: &Bytes) -> Result<(), Error> {
        if self.policy == OnLossy::Fail {
            let lossy = Lossy {
                loss,
                key: key.clone(),
            };
            return Err(ErrorKind::Lossy { lossy, db }.at(&self.endpoint));
        }
        let count = self.counts.entry(loss).or_default();
        *count += 1;
        match *count {
            n if n <= NAMED_MAX => {
                tracing::warn!(%db, key = %Escaped(key), "the target cannot hold {loss}");
            }
            n if n == NAMED_MAX + 1 => {
                tracing::warn!("more keys lose {loss}; they are counted but not named");
            }
            _ => {}
        }
        Ok(())
    }

    /// The target.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How much was left out, of all kinds.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
