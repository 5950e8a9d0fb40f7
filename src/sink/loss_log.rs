//! What could not be said on the target: counted, named, or the end of the run.

use bytes::Bytes;

use crate::{
    keyspace::{Db, Loss},
    net::Endpoint,
};

use super::{
    error::{Error, ErrorKind},
    loss_names::LossNames,
    lossy::Lossy,
    policy::OnLossy,
};

/// Decides about losses and remembers them.
#[derive(Debug)]
pub struct LossLog {
    endpoint: Endpoint,
    policy: OnLossy,
    names: LossNames<Loss>,
}

impl LossLog {
    /// Makes an empty log.
    pub fn new(endpoint: Endpoint, policy: OnLossy) -> LossLog {
        LossLog {
            endpoint,
            policy,
            names: LossNames::new("the target cannot hold".into()),
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
        self.names.lose(loss, 1, db, key);
        Ok(())
    }

    /// The target.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How much was left out, of all kinds.
    pub fn total(&self) -> u64 {
        self.names.total()
    }
}
