//! A lane that lost its connection goes on with another.
//!
//! ```text
//!  close the old connection by its id ──► read the mark ──► connect ──► send again what lies behind
//! ```
//!
//! The order matters: until the old connection is closed, what it still carries may be executed
//! after the mark was read.
//!
//! What is sent again: MSET, SET and RESTORE write the same key with the same value, so a second
//! time does no harm; of transactions, only those behind the mark.

use std::time::{Duration, Instant};

use crate::net::Backoff;

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
    driver::Driver,
};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Driver {
    /// Connects again after `lost`, for as long as passing troubles are waited out.
    ///
    /// # Errors
    /// The last one of the last try, or what no further try would change.
    pub(super) async fn reconnect(&mut self, lost: Error) -> Result<(), Error> {
        let _ = self.events.send(LaneEvent::Waiting(lost.with_why()));
        let since = Instant::now();
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut last = lost;
        loop {
            let pause = backoff.pause();
            if since.elapsed() + pause > self.config.retry_for {
                return Err(last);
            }
            tokio::time::sleep(pause).await;
            let silence_max = self.config.silence_max;
            last = match tokio::time::timeout(silence_max, self.connect_again()).await {
                Ok(Ok(())) => {
                    let _ = self.events.send(LaneEvent::Reconnected);
                    return Ok(());
                }
                Ok(Err(error)) if error.kind.passes() => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => self.fail(ErrorKind::Silent(silence_max)),
            };
            tracing::debug!("not yet: {}", last.with_why());
        }
    }

    /// Tries once. May be dropped midway: nothing was sent then.
    async fn connect_again(&mut self) -> Result<(), Error> {
        let config = &self.config;
        let mut admin = Admin::open(&config.node, config.connect_timeout).await?;
        admin.must_be_ready().await?;
        self.close_old(&mut admin).await?;
        let mark = self.read_mark(&mut admin).await?;
        // A target that was restarted has forgotten it.
        if config.import_mode == ImportMode::Ours {
            admin.set_import_mode(true).await?;
        }
        let (claim, import_mode) = (config.claim.as_ref(), config.import_mode);
        let connected = connect(&config.node, config.connect_timeout, claim, import_mode).await?;
        self.forget_executed(mark)?;
        self.adopt(connected);
        Ok(())
    }

    /// Makes sure that nothing of the lost connection is executed any more.
    async fn close_old(&self, admin: &mut Admin) -> Result<(), Error> {
        let closed = match self.connection_id {
            Some(id) => admin.close_connection(id).await?,
            None => false,
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
    async fn read_mark(&self, admin: &mut Admin) -> Result<Option<u64>, Error> {
        let offset = match &self.config.claim {
            Some(claim) => admin.standing(claim).await?,
            None => None,
        };
        match self.config.marks {
            Marks::None => Ok(None),
            Marks::Lane => {
                if admin.run_id().await? != self.config.run_id {
                    return Err(self.fail(ErrorKind::Restarted));
                }
                if let (Some(claim), None) = (&self.config.claim, offset) {
                    let name = claim.name().to_owned();
                    return Err(self.fail(ErrorKind::CheckpointDropped { name }));
                }
                admin
                    .mark(self.unconfirmed.db(), &mark_key(self.index))
                    .await
            }
            Marks::Checkpoint(_) => match offset {
                None => Err(self.fail(self.why_gone(admin).await?)),
                Some(offset) if offset < self.unconfirmed.confirmed_mark() => {
                    let confirmed = self.unconfirmed.confirmed_mark();
                    Err(self.fail(ErrorKind::WentBack { offset, confirmed }))
                }
                Some(offset) => Ok(Some(offset)),
            },
        }
    }

    /// Why there is no checkpoint any more.
    async fn why_gone(&self, admin: &mut Admin) -> Result<ErrorKind, Error> {
        let run_id = admin.run_id().await?;
        Ok(match &self.config.claim {
            Some(claim) if run_id.is_some() && run_id == self.config.run_id => {
                let name = claim.name().to_owned();
                ErrorKind::CheckpointDropped { name }
            }
            _ => ErrorKind::CheckpointGone,
        })
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
