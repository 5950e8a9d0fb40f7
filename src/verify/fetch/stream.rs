//! Reads a stream: its entries, then its counters, then its groups with what is pending in them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    rdb::{Part, StreamConsumer, StreamGroupEnd, StreamIdempotency},
    verify::pages::{
        One, ValueError,
        stream::{self, Entries, GroupState, PendingEntries, PendingEntry, RowPages},
    },
};

/// A stream that is being read.
#[derive(Debug)]
pub(super) struct StreamReading {
    key: Bytes,
    next: Next,
    idempotency: Option<StreamIdempotency>,
    /// The groups that follow.
    groups: VecDeque<GroupState>,
    group: Bytes,
    /// The consumers of the group that follow.
    consumers: VecDeque<StreamConsumer>,
    /// Whether the group has pending entries that were given back.
    has_given_back: bool,
}

/// What is read next.
#[derive(Debug)]
enum Next {
    Entries(RowPages<Entries>),
    Counters,
    Group,
    /// A consumer of the group.
    Consumer,
    /// What is pending for a consumer of the group.
    Pending(RowPages<PendingEntries>),
    /// What was given back, among all that is pending in the group.
    GivenBack(RowPages<PendingEntries>),
    End,
}

impl StreamReading {
    pub(super) fn new(key: &Bytes) -> StreamReading {
        StreamReading {
            next: Next::Entries(RowPages::new(Entries { key: key.clone() })),
            key: key.clone(),
            idempotency: None,
            groups: VecDeque::new(),
            group: Bytes::new(),
            consumers: VecDeque::new(),
            has_given_back: false,
        }
    }

    /// The next parts; `None` behind the last.
    ///
    /// # Errors
    /// As [`ValueError`].
    pub(super) async fn next(
        &mut self,
        one: &mut One<'_>,
    ) -> Result<Option<Vec<Part>>, ValueError> {
        let parts = match std::mem::replace(&mut self.next, Next::End) {
            Next::Entries(mut pages) => match pages.next(one).await? {
                None => {
                    self.next = Next::Counters;
                    Vec::new()
                }
                Some(page) => {
                    self.next = Next::Entries(pages);
                    let part = |(id, fields)| Part::StreamEntry { id, fields };
                    page.into_iter().map(part).collect()
                }
            },
            Next::Counters => {
                let state = stream::state(one, &self.key).await?;
                self.groups = state.groups.into();
                self.idempotency = state.idempotency;
                self.next = Next::Group;
                vec![Part::StreamMeta(state.meta)]
            }
            Next::Group => match self.groups.pop_front() {
                None => {
                    let settings = self.idempotency.take();
                    settings.into_iter().map(Part::StreamIdempotency).collect()
                }
                Some(group) => self.group(one, group).await?,
            },
            Next::Consumer => match self.consumers.pop_front() {
                Some(consumer) => {
                    let name = consumer.name.clone();
                    self.next = Next::Pending(self.pending(Some(name)));
                    vec![Part::StreamConsumer(consumer)]
                }
                None if std::mem::take(&mut self.has_given_back) => {
                    self.next = Next::GivenBack(self.pending(None));
                    Vec::new()
                }
                None => {
                    self.next = Next::Group;
                    vec![Part::StreamGroupEnd(StreamGroupEnd::default())]
                }
            },
            Next::Pending(mut pages) => match pages.next(one).await? {
                None => {
                    self.next = Next::Consumer;
                    Vec::new()
                }
                Some(page) => {
                    self.next = Next::Pending(pages);
                    let part = |row: PendingEntry| Part::StreamPending(row.pending);
                    page.into_iter().map(part).collect()
                }
            },
            Next::GivenBack(mut pages) => match pages.next(one).await? {
                None => {
                    self.next = Next::Consumer;
                    Vec::new()
                }
                Some(page) => {
                    self.next = Next::GivenBack(pages);
                    let given_back = page.into_iter().filter(|row| row.consumer.is_none());
                    let part = |row: PendingEntry| Part::StreamNacked(row.pending);
                    given_back.map(part).collect()
                }
            },
            Next::End => return Ok(None),
        };
        Ok(Some(parts))
    }

    async fn group(
        &mut self,
        one: &mut One<'_>,
        GroupState { group, pending }: GroupState,
    ) -> Result<Vec<Part>, ValueError> {
        let consumers = stream::consumers(one, &self.key, &group.name).await?;
        let owned: u64 = consumers.iter().map(|state| state.pending).sum();
        self.has_given_back = pending > owned;
        self.consumers = consumers.into_iter().map(|state| state.consumer).collect();
        self.group = group.name.clone();
        self.next = Next::Consumer;
        Ok(vec![Part::StreamGroup(group)])
    }

    fn pending(&self, consumer: Option<Bytes>) -> RowPages<PendingEntries> {
        RowPages::new(PendingEntries {
            key: self.key.clone(),
            group: self.group.clone(),
            consumer,
        })
    }
}
