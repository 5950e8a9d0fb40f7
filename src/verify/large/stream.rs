//! Streams: by ranges of entries and of pending entries, and what XINFO tells.

use std::{cmp::Ordering, collections::VecDeque};

use bytes::Bytes;

use crate::verify::{
    compare::{
        Finds, Rules,
        stream::{
            Consumer, Counters, Group, Owner, Pending, consumers, counters, entry, group, groups,
            pending_entry,
        },
    },
    pages::{
        One, ValueError,
        stream::{
            self, ConsumerState, Entries, GroupState, PendingEntries, PendingEntry, RowPages, Rows,
            State,
        },
    },
};

use super::Pair;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    rules: &Rules,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let rows = Entries { key: key.clone() };
    let [our_entries, their_entries] =
        in_pairs(pair, &rows, |ours, theirs| entry(finds, ours, theirs)).await?;
    let can = pair.source_can;
    let (mut source, mut target) = pair.split();
    let (ours, theirs) = tokio::join!(
        stream::state(&mut source, key),
        stream::state(&mut target, key),
    );
    let (ours, theirs) = (ours?, theirs?);
    counters(
        finds,
        &counters_of(&ours, our_entries),
        &counters_of(&theirs, their_entries),
    );
    let [our_groups, their_groups] = [ours, theirs].map(groups_of);
    for (ours, theirs) in groups(finds, &our_groups, &their_groups) {
        group(finds, ours, theirs, can.entries_read);
        let name = &ours.name;
        let (mut source, mut target) = pair.split();
        let (ours, theirs) = tokio::join!(
            stream::consumers(&mut source, key, name),
            stream::consumers(&mut target, key, name),
        );
        consumers(finds, name, &consumers_of(ours?), &consumers_of(theirs?));
        let rows = PendingEntries {
            key: key.clone(),
            group: name.clone(),
            consumer: None,
        };
        in_pairs(pair, &rows, |ours, theirs| {
            // The times that they were delivered at are known as exactly as the clocks were read.
            let mut rules = *rules;
            for row in [ours, theirs].into_iter().flatten() {
                rules.ttl_tolerance_ms += row.uncertain_ms;
            }
            let [ours, theirs] = [ours, theirs].map(|row| row.map(pending_of));
            pending_entry(finds, name, ours.as_ref(), theirs.as_ref(), &rules);
        })
        .await?;
    }
    Ok(())
}

fn counters_of(state: &State, entries: u64) -> Counters {
    let State {
        meta, idempotency, ..
    } = state;
    Counters {
        last_id: meta.last_id,
        entries_added: meta.entries_added,
        max_deleted_id: meta.max_deleted_id,
        length: meta.length,
        entries,
        idempotency: idempotency.map(|settings| (settings.duration_s, settings.entries_max)),
    }
}

fn groups_of(state: State) -> Vec<Group> {
    let groups = state.groups.into_iter();
    groups
        .map(|GroupState { group, .. }| Group::of(group))
        .collect()
}

fn consumers_of(states: Vec<ConsumerState>) -> Vec<Consumer> {
    let consumer = |state: ConsumerState| Consumer {
        name: state.consumer.name,
        pending: state.pending,
    };
    states.into_iter().map(consumer).collect()
}

fn pending_of(row: &PendingEntry) -> Pending {
    let owner = match &row.consumer {
        Some(name) => Owner::Consumer(name.clone()),
        None => Owner::GivenBack,
    };
    Pending::of(row.pending, owner)
}

/// The rows of one side that have been read and not visited.
struct Feed<R: Rows> {
    pages: RowPages<R>,
    rows: VecDeque<R::Row>,
    visited: u64,
}

impl<R: Rows + Clone> Feed<R> {
    fn new(rows: &R) -> Feed<R> {
        Feed {
            pages: RowPages::new(rows.clone()),
            rows: VecDeque::new(),
            visited: 0,
        }
    }

    /// Reads the next page, unless there are rows to visit, or no more to come.
    async fn fill(&mut self, one: &mut One<'_>) -> Result<(), ValueError> {
        while self.rows.is_empty()
            && let Some(page) = self.pages.next(one).await?
        {
            self.rows = page.into();
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<R::Row> {
        let row = self.rows.pop_front();
        self.visited += u64::from(row.is_some());
        row
    }
}

/// Visits the rows of both sides in pairs of the same id, and says how many each side has; what only
/// one of them has comes alone.
async fn in_pairs<R: Rows + Clone>(
    pair: &mut Pair<'_>,
    rows: &R,
    mut visit: impl FnMut(Option<&R::Row>, Option<&R::Row>),
) -> Result<[u64; 2], ValueError> {
    let (mut source, mut target) = pair.split();
    let (mut ours, mut theirs) = (Feed::new(rows), Feed::new(rows));
    loop {
        let (read, other) = tokio::join!(ours.fill(&mut source), theirs.fill(&mut target));
        read?;
        other?;
        let ids = [&ours, &theirs].map(|feed| feed.rows.front().map(R::id));
        let order = match ids {
            [None, None] => return Ok([ours.visited, theirs.visited]),
            [Some(_), None] => Ordering::Less,
            [None, Some(_)] => Ordering::Greater,
            [Some(id), Some(other)] => id.cmp(&other),
        };
        let one = if order.is_le() { ours.pop() } else { None };
        let other = if order.is_ge() { theirs.pop() } else { None };
        visit(one.as_ref(), other.as_ref());
    }
}
