//! Bytes of the stream become the next transaction for the target.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    net::Endpoint,
    resp::{self, Command},
    sink::{
        Batch, ErrorKind, Hold, HoldExpiries, LossLog, Named, Target, TransactionBuilder,
        Translator,
        translate::{self, DropReason, Verdict},
    },
    sync::{self, ReplOffset, Resumable, StreamDecoder, StreamItem},
};

use super::super::{Error, Progress, SkipReason, skipped::Skipped};

/// Reads the stream, translates its commands, and gathers them into the next transaction.
pub(super) struct Gathering<'a> {
    decoder: StreamDecoder,
    transaction: TransactionBuilder,
    translator: Translator,
    losses: LossLog,
    /// Room for what becomes of a command; empty otherwise.
    translated: Vec<Command>,
    /// Commands of the source's transaction that has not ended yet.
    open: Option<Vec<(Db, Command)>>,
    skipped: Skipped,
    hold: Hold,
    /// What stays held while the stream is followed.
    hold_expiries: HoldExpiries,
    /// Whether fields of hashes may be held.
    pub(super) held_fields: bool,
    /// Whether expiries may be held that no release under way will find.
    pub(super) left_held: bool,
    /// A release is under way: what goes to a place that it has seen is not found any more.
    pub(super) releasing: bool,
    /// Commands may be left in the decoder, because the transaction was full.
    is_full: bool,
    /// When the last bytes came, by the source's clock.
    received_at_ms: UnixMs,
    /// Everything up to here is applied, under way, or gathered.
    gathered: Resumable,
    target: Arc<Target>,
    source: Endpoint,
    progress: &'a Progress,
}

/// What gathering begins with.
pub(super) struct Parts<'a> {
    pub(super) from: Resumable,
    pub(super) transaction: TransactionBuilder,
    pub(super) translator: Translator,
    pub(super) losses: LossLog,
    pub(super) skipped: Skipped,
    pub(super) hold: Hold,
    pub(super) hold_expiries: HoldExpiries,
    pub(super) held_fields: bool,
    pub(super) left_held: bool,
    pub(super) target: Arc<Target>,
    pub(super) source: Endpoint,
    pub(super) progress: &'a Progress,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(parts: Parts<'a>) -> Gathering<'a> {
        Gathering {
            decoder: decoder(parts.from),
            transaction: parts.transaction,
            translator: parts.translator,
            losses: parts.losses,
            translated: Vec::new(),
            open: None,
            skipped: parts.skipped,
            hold: parts.hold,
            hold_expiries: parts.hold_expiries,
            held_fields: parts.held_fields,
            left_held: parts.left_held,
            releasing: false,
            is_full: false,
            received_at_ms: UnixMs::MIN,
            gathered: parts.from,
            target: parts.target,
            source: parts.source,
            progress: parts.progress,
        }
    }

    /// Begins again at an earlier place, with a connection on which nothing is selected. Expiries
    /// are held again: the target is behind.
    ///
    /// # Errors
    /// `SkippedMoved` when nobody knows where the skipped keys were then.
    pub(super) fn restart(&mut self, from: Resumable) -> Result<(), Error> {
        self.skipped.go_back(from.offset)?;
        self.decoder = decoder(from);
        self.transaction.clear();
        self.is_full = false;
        self.open = None;
        self.gathered = from;
        self.left_held |= self.hold.is_on();
        if self.hold.is_on() {
            self.hold = Hold::Held;
            self.translator.set_hold(self.hold);
        }
        Ok(())
    }

    /// Everything up to here is applied, under way, or gathered.
    pub(super) fn gathered(&self) -> Resumable {
        self.gathered
    }

    /// Everything up to here was received.
    pub(super) fn received(&self) -> ReplOffset {
        self.decoder.received_offset()
    }

    /// Whether what was gathered is to be sent before more is fed.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether nothing is waiting to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.transaction.is_empty() && !self.is_full
    }

    /// Takes what was gathered, for the history `replid`.
    pub(super) fn take(&mut self, replid: Option<sync::Replid>) -> Option<Batch> {
        self.set_replid(replid);
        // One of the commands may be what holds an expiry.
        self.transaction.set_held(self.hold.is_on());
        self.transaction.take()
    }

    /// Takes what was gathered and says whether expiries are held then; it may be no more than
    /// the checkpoint.
    pub(super) fn take_checkpoint(
        &mut self,
        replid: Option<sync::Replid>,
        held: bool,
    ) -> Option<Batch> {
        self.set_replid(replid);
        self.transaction.set_held(held);
        self.cover();
        self.transaction.take_with_checkpoint()
    }

    fn set_replid(&mut self, replid: Option<sync::Replid>) {
        if let Some(replid) = replid {
            self.transaction.set_replid(&replid.to_string());
        }
    }

    fn cover(&mut self) {
        let Resumable { offset, db } = self.gathered;
        self.transaction.covers(offset.get(), db);
    }

    /// From here on expiries are written true unless they come soon, or all are held.
    pub(super) fn hold_what_comes_soon(&mut self) {
        if let (true, HoldExpiries::Within(ms)) = (self.hold.is_on(), self.hold_expiries) {
            let soon_until_ms = self.received_at_ms.saturating_add(ms);
            self.hold = Hold::Following { soon_until_ms };
            self.translator.set_hold(self.hold);
        }
    }

    /// Takes the commands that are complete with `bytes`, until the transaction is full; returns
    /// where the source has asked for an acknowledgement. [`Gathering::go_on`] takes the rest.
    ///
    /// # Errors
    /// What is wrong with the stream, or cannot be done on the target. What was gathered before
    /// is whole.
    pub(super) fn feed(
        &mut self,
        bytes: Bytes,
        received_at_ms: UnixMs,
    ) -> Result<Option<ReplOffset>, Error> {
        self.received_at_ms = received_at_ms;
        if matches!(self.hold, Hold::Following { .. }) {
            self.hold_what_comes_soon();
        }
        self.decoder.feed(bytes);
        self.gather()
    }

    /// Takes the commands that are left, if there may be any; as [`Gathering::feed`].
    pub(super) fn go_on(&mut self) -> Result<Option<ReplOffset>, Error> {
        match self.is_full {
            true => self.gather(),
            false => Ok(None),
        }
    }

    fn gather(&mut self) -> Result<Option<ReplOffset>, Error> {
        let taken = self.take_items();
        self.cover();
        let parsed = self.decoder.parsed_offset().get();
        self.progress.parsed_offset.set(parsed);
        taken
    }

    fn take_items(&mut self) -> Result<Option<ReplOffset>, Error> {
        let mut asked = None;
        let max = self.progress.window.batch_max();
        loop {
            self.is_full = self.transaction.is_full(max);
            if self.is_full {
                break;
            }
            let Some(item) = self.next_item()? else { break };
            match item {
                StreamItem::Command {
                    command,
                    db,
                    end_offset,
                    ..
                } => match &mut self.open {
                    Some(open) => open.push((db, command)),
                    None => self.apply_one(db, command, end_offset)?,
                },
                StreamItem::TransactionStart { .. } => self.open = Some(Vec::new()),
                StreamItem::TransactionEnd { end_offset } => {
                    let commands = self.open.take().unwrap_or_default();
                    self.apply(commands, end_offset)?;
                }
                StreamItem::GetAck { end_offset } => asked = Some(end_offset),
                StreamItem::Select { .. }
                | StreamItem::Ping { .. }
                | StreamItem::Replconf { .. } => {}
            }
            self.gathered = self.decoder.resumable();
        }
        Ok(asked)
    }

    /// Adds what becomes of these commands, all of them or none, to the transaction.
    fn apply(&mut self, commands: Vec<(Db, Command)>, at: ReplOffset) -> Result<(), Error> {
        let mut translated = Vec::with_capacity(commands.len());
        for (db, command) in commands {
            let mut of_one = Vec::new();
            self.translate(db, command, at, &mut of_one)?;
            translated.push((db, of_one));
        }
        for (db, commands) in translated {
            self.transaction.push(db, &commands, at.get());
        }
        Ok(())
    }

    /// Adds what becomes of a command to the transaction.
    fn apply_one(&mut self, db: Db, command: Command, at: ReplOffset) -> Result<(), Error> {
        let mut translated = std::mem::take(&mut self.translated);
        let done = self.translate(db, command, at, &mut translated);
        if done.is_ok() {
            self.transaction.push(db, &translated, at.get());
        }
        translated.clear();
        self.translated = translated;
        done
    }

    fn next_item(&mut self) -> Result<Option<StreamItem>, Error> {
        self.decoder.next().map_err(|kind| {
            let error = sync::Error::new(&self.source, kind);
            Error::Source(error.at(self.decoder.parsed_offset()))
        })
    }

    /// Appends what the target is to execute for one command, and counts what is left out.
    fn translate(
        &mut self,
        db: Db,
        command: Command,
        end_offset: ReplOffset,
        translated: &mut Vec<Command>,
    ) -> Result<(), Error> {
        let databases = self.target.databases;
        if db.0 >= databases {
            return Err(self.target_error(ErrorKind::NoSuchDb { db, databases }));
        }
        self.skipped.follow(db, &command, end_offset)?;
        if self.is_skipped(db, &command, end_offset)? {
            self.progress.count_skipped(SkipReason::Conflict, 1);
            return Ok(());
        }
        self.held_fields |= self.hold.is_on() && translate::may_expire_fields(&command);
        if self.releasing {
            self.left_held |= translate::moves_keys(&command);
        }
        let received_at_ms = self.received_at_ms;
        let context = translate::Context { db, received_at_ms };
        let verdict = self.translator.translate(command, &context, translated);
        let verdict = verdict.map_err(|error| {
            self.target_error(ErrorKind::Untranslatable {
                error,
                db,
                offset: end_offset.get(),
            })
        })?;
        if self.hold.is_on() && translated.iter().any(translate::carries_held_expiry) {
            self.left_held = true;
            self.progress.expiries_held.at_least(1);
        }
        match verdict {
            Verdict::Forwarded => {}
            Verdict::Dropped(DropReason::SentinelHello) => {
                self.progress.count_skipped(SkipReason::SentinelHello, 1);
            }
            Verdict::Dropped(DropReason::PublishPolicy | DropReason::NobodyListens) => {
                self.progress.count_skipped(SkipReason::Publish, 1);
            }
            Verdict::Dropped(_) => {}
            Verdict::Lossy(lossy) => {
                self.losses
                    .lose(lossy.loss, db, &lossy.key)
                    .map_err(Error::Target)?;
                self.progress.count_skipped(SkipReason::Lossy, 1);
            }
        }
        Ok(())
    }

    /// Whether the command is only about keys that the conflict policy left alone.
    fn is_skipped(&self, db: Db, command: &Command, end_offset: ReplOffset) -> Result<bool, Error> {
        if self.skipped.is_empty() {
            return Ok(false);
        }
        let places = translate::keys(command);
        let mut keys = 0;
        let mut skipped = 0;
        for key in places.of(command) {
            keys += 1;
            skipped += usize::from(self.skipped.contains(db, key));
        }
        let elsewhere = translate::other_db(command);
        let mixed = elsewhere.is_some_and(|(db, key)| self.skipped.contains(db, key));
        if mixed || (skipped != 0 && skipped != keys) {
            let command = Named::of(command, Some(end_offset.get()));
            return Err(self.target_error(ErrorKind::MixedSkip { command, db }));
        }
        Ok(skipped != 0)
    }

    fn target_error(&self, kind: ErrorKind) -> Error {
        Error::Target(kind.at(self.losses.endpoint()))
    }
}

fn decoder(from: Resumable) -> StreamDecoder {
    StreamDecoder::new(from.offset, from.db, resp::Limits::default())
}
