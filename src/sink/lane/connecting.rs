//! How a lane comes to its connection, and to another when it has lost one.
//!
//! ```text
//!  close the lost connection by its id ──► read the mark ──► connect ──► send again what lies behind
//! ```
//!
//! The order matters: until the lost connection is closed, what it still carries may be executed
//! after the mark was read. The mark is read before the first connection as well: the target may
//! have been restarted since it was looked at, with older data or with none.
//!
//! What is sent again: MSET, SET and RESTORE write the same key with the same value, so a second
//! time does no harm; of transactions, only those behind the mark.

use std::time::{Duration, Instant};

use crate::net::{Backoff, Connection};

use super::{
    super::{
        admin::Admin,
        batch::Shape,
        connect::connect,
        error::{Error, ErrorKind},
        import::ImportMode,
        judge::named,
        policy::Conflict,
        staging::mark_key,
    },
    LaneEvent, Marks,
    driver::{Driver, LastConnection},
};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Driver {
    /// Connects, for as long as passing troubles are waited out; again, when a connection was
    /// `lost`.
    ///
    /// # Errors
    /// The last one of the last try, or what no further try would change.
    pub(super) async fn connect(&mut self, lost: Option<Error>) -> Result<Connection, Error> {
        let since = Instant::now();
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut trouble = lost;
        let mut told = false;
        loop {
            if let Some(error) = trouble.take() {
                match std::mem::replace(&mut told, true) {
                    false => {
                        let _ = self.events.send(LaneEvent::Waiting(error.with_why()));
                    }
                    true => tracing::debug!("not yet: {}", error.with_why()),
                }
                let pause = backoff.pause();
                if since.elapsed() + pause > self.config.retry_for {
                    return Err(error);
                }
                tokio::time::sleep(pause).await;
            }
            let silence_max = self.config.silence_max;
            match tokio::time::timeout(silence_max, self.connect_once()).await {
                Ok(Ok(connection)) => {
                    if told {
                        let _ = self.events.send(LaneEvent::Reconnected);
                    }
                    return Ok(connection);
                }
                Ok(Err(error)) if error.kind.passes() => trouble = Some(error),
                Ok(Err(error)) => return Err(error),
                Err(_) => trouble = Some(self.fail(ErrorKind::Silent(silence_max))),
            }
        }
    }

    /// Tries once. May be dropped midway: nothing was sent then.
    async fn connect_once(&mut self) -> Result<Connection, Error> {
        let timeout = self.config.connect_timeout;
        let mut admin = Admin::open(&self.config.node, timeout).await?;
        admin.must_be_ready().await?;
        self.close_lost(&mut admin).await?;
        let mark = self.read_mark(&mut admin).await?;
        let config = &self.config;
        // A target that was restarted has forgotten it.
        if config.import_mode == ImportMode::Ours {
            admin.set_import_mode(true).await?;
        }
        let claim = config.claim.as_ref();
        let connected = connect(&config.node, timeout, claim, config.import_mode).await?;
        self.forget_executed(mark)?;
        Ok(self.adopt(connected))
    }

    /// Makes sure that nothing of the lost connection is executed any more.
    async fn close_lost(&self, admin: &mut Admin) -> Result<(), Error> {
        let closed = match self.last_connection {
            LastConnection::None => true,
            LastConnection::Id(id) => admin.close_connection(id).await?,
            LastConnection::Unnamed => false,
        };
        if !closed {
            tracing::warn!(
                "the target's user may not use CLIENT ID and CLIENT KILL: what was sent over the \
                 lost connection may be executed twice"
            );
        }
        Ok(())
    }

    /// Reads what was executed; `None` when nothing tells.
    async fn read_mark(&mut self, admin: &mut Admin) -> Result<Option<u64>, Error> {
        let run_id = match self.config.marks {
            Marks::None => return Ok(None),
            Marks::Lane | Marks::Checkpoint(_) => admin.run_id().await?,
        };
        let restarted = run_id != self.config.run_id;
        if let Marks::Checkpoint(_) = self.config.marks {
            let offset = self.standing(admin, restarted).await?;
            self.config.run_id = run_id;
            return Ok(Some(offset));
        }
        if restarted {
            return Err(self.fail(ErrorKind::Restarted));
        }
        if self.config.claim.is_some() {
            self.standing(admin, restarted).await?;
        }
        if self.unconfirmed.is_empty() {
            return Ok(None);
        }
        admin
            .mark(self.unconfirmed.db(), &mark_key(self.index))
            .await
    }

    /// Makes sure that the checkpoint is still ours, and not behind what was confirmed; returns its
    /// offset.
    async fn standing(&self, admin: &mut Admin, restarted: bool) -> Result<u64, Error> {
        let offset = match &self.config.claim {
            None => None,
            Some(claim) => match admin.standing(claim).await {
                // With older data an older claim has come back, too.
                Err(error) if restarted && error.is_taken_over() => {
                    let checkpoint = admin.take_over(claim).await?;
                    checkpoint.map(|checkpoint| checkpoint.offset)
                }
                standing => standing?,
            },
        };
        let confirmed = self.unconfirmed.confirmed_mark();
        match (offset, self.config.marks) {
            (Some(offset), Marks::Checkpoint(_)) if offset < confirmed => {
                Err(self.fail(ErrorKind::WentBack { offset, confirmed }))
            }
            (Some(offset), _) => Ok(offset),
            (None, _) => Err(self.fail(self.why_gone(restarted))),
        }
    }

    /// Why there is no checkpoint any more.
    fn why_gone(&self, restarted: bool) -> ErrorKind {
        match &self.config.claim {
            Some(claim) if !restarted && self.config.run_id.is_some() => {
                let name = claim.name().to_owned();
                ErrorKind::CheckpointDropped { name }
            }
            _ => ErrorKind::CheckpointGone,
        }
    }

    /// Confirms the transactions that `mark` says were executed.
    fn forget_executed(&mut self, mark: Option<u64>) -> Result<(), Error> {
        self.unconfirmed.lost();
        loop {
            let undecided = self.unconfirmed.next_request().and_then(|request| {
                let may_have_left_alone = matches!(
                    request.shape,
                    Shape::TransactionIfAbsent | Shape::ExpiringTransactionIfAbsent
                );
                may_have_left_alone.then(|| (named(request, 0), request.db))
            });
            if !self.unconfirmed.confirm_by(mark) {
                return Ok(());
            }
            if let Some((command, db)) = undecided
                && self.config.conflict != Conflict::Replace
                && !self.config.began_empty
            {
                return Err(self.fail(ErrorKind::Undecided { command, db }));
            }
            self.close_front()?;
        }
    }
}
