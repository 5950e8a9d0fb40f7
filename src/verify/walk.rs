//! Walks through the keys of a db on one side and looks at them on both.
//!
//! One task pages through the keyspace, a few lanes (pairs of connections) compare the pages. A
//! SCAN cursor is a place to go on from once every page before it is compared.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::sleep_until};

use crate::{keyspace::Db, resp::Reply};

use super::{
    Error, ErrorKind,
    pace::Pace,
    pages::replies,
    peer::Peer,
    plan::Plan,
    probe::has_no_such_db,
    reading::{Dbs, Examined, Readers},
    report::Pass,
    seen::{Name, Namer, Seen},
    server::{self, Server},
};

/// Keys that are asked for at a time.
const PAGE_KEYS: &[u8] = b"512";

/// Some keys, as one SCAN answers them.
#[derive(Debug, Default)]
struct Page {
    keys: Vec<Bytes>,
    /// Where the next page begins; 0 behind the last.
    cursor: u64,
}

/// What comparing some pages has shown.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Keys that are not equal.
    pub(super) suspects: Vec<Bytes>,
    /// Everything before this cursor is compared; 0 is all.
    pub(super) cursor: Option<u64>,
}

/// The lanes, and the pages they work on.
#[derive(Debug)]
pub(super) struct Walk {
    plan: Arc<Plan>,
    idle: Vec<Readers>,
    pace: Pace,
    seen: Seen,
}

impl Walk {
    /// Makes so many lanes.
    pub(super) fn new(plan: &Arc<Plan>, lanes: usize, pace: Pace) -> Walk {
        Walk {
            plan: Arc::clone(plan),
            idle: (0..lanes.max(1)).map(|_| Readers::new(plan)).collect(),
            pace,
            seen: Seen::new(),
        }
    }

    /// Begins to walk through a db behind `cursor`.
    pub(super) fn begin(&mut self, pass: Pass, db: Db, cursor: u64) -> Walking<'_> {
        let (sender, pages) = mpsc::channel(self.idle.len());
        let server = match pass {
            Pass::Forward => &self.plan.source,
            Pass::Reverse => &self.plan.target,
        };
        let scan = Scan {
            peer: server.peer(),
            db,
            process: Process::of(server),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(scan.run(cursor, sender));
        Walking {
            walk: self,
            pass,
            db,
            pages: Some(pages),
            scanning: tasks,
            reading: JoinSet::new(),
            begun: VecDeque::new(),
            first: 0,
        }
    }
}

/// A walk through one db. Its tasks end with it.
pub(super) struct Walking<'a> {
    walk: &'a mut Walk,
    pass: Pass,
    db: Db,
    /// `None` when no more come.
    pages: Option<mpsc::Receiver<Result<Page, Error>>>,
    scanning: JoinSet<()>,
    reading: JoinSet<(Readers, usize, Result<Found, Error>)>,
    /// The cursors behind the pages that were begun and are not covered by a step, and whether
    /// those pages are compared.
    begun: VecDeque<(u64, bool)>,
    /// The number of the first of them.
    first: usize,
}

impl Walking<'_> {
    /// Compares until there is something to tell; `None` when the db is done.
    ///
    /// # Errors
    /// A side cannot be asked any more.
    pub(super) async fn next(&mut self) -> Result<Option<Step>, Error> {
        loop {
            let may_begin = !self.walk.idle.is_empty() && self.pages.is_some();
            let ready_at = self.walk.pace.ready_at(Instant::now());
            tokio::select! {
                page = next_page(&mut self.pages, ready_at), if may_begin => match page {
                    Some(page) => self.start(page?),
                    None => self.pages = None,
                },
                Some(done) = self.reading.join_next() => {
                    let (readers, number, found) = done.unwrap_or_else(|panic| {
                        std::panic::resume_unwind(panic.into_panic())
                    });
                    self.walk.idle.push(readers);
                    return Ok(Some(self.done(number, found?)));
                }
                else => {
                    self.scanning.shutdown().await;
                    return Ok(None);
                }
            }
        }
    }

    fn start(&mut self, page: Page) {
        let Page { mut keys, cursor } = page;
        let plan = &self.walk.plan;
        plan.progress.keys_done.add(keys.len() as u64);
        keys.retain(|key| plan.selects(self.db, key));
        let selected = keys.len();
        self.walk.pace.keys(selected);
        if self.pass == Pass::Reverse {
            keys.retain(|key| !self.walk.seen.has(self.db, key));
        }
        let number = self.first + self.begun.len();
        self.begun.push_back((cursor, false));
        if let Some(readers) = self.walk.idle.pop() {
            let task = Task {
                pass: self.pass,
                db: self.db,
                number,
                selected,
                namer: self.walk.seen.namer(),
            };
            self.reading.spawn(read(readers, task, keys));
        }
    }

    fn done(&mut self, number: usize, found: Found) -> Step {
        let Found { suspects, equal } = found;
        self.walk.seen.add(equal);
        if let Some((_, is_compared)) = self.begun.get_mut(number - self.first) {
            *is_compared = true;
        }
        let mut cursor = None;
        while let Some((behind, true)) = self.begun.front() {
            cursor = Some(*behind);
            self.begun.pop_front();
            self.first += 1;
        }
        self.walk
            .pace
            .bytes(self.walk.plan.progress.bytes_read.get());
        Step { suspects, cursor }
    }
}

async fn next_page(
    pages: &mut Option<mpsc::Receiver<Result<Page, Error>>>,
    ready_at: Option<Instant>,
) -> Option<Result<Page, Error>> {
    if let Some(ready_at) = ready_at {
        sleep_until(ready_at.into()).await;
    }
    pages.as_mut()?.recv().await
}

/// What comparing the keys of a page has shown.
#[derive(Debug, Default)]
struct Found {
    /// Those that are not equal.
    suspects: Vec<Bytes>,
    equal: Vec<Name>,
}

/// What is to be done with the keys of a page.
#[derive(Debug, Clone, Copy)]
struct Task {
    pass: Pass,
    db: Db,
    /// The number of the page.
    number: usize,
    /// How many keys of it are selected; some need not be asked for.
    selected: usize,
    namer: Namer,
}

/// Compares the keys of a page.
async fn read(
    mut readers: Readers,
    task: Task,
    keys: Vec<Bytes>,
) -> (Readers, usize, Result<Found, Error>) {
    let progress = Arc::clone(&readers.plan().progress);
    let (found, compared) = match task.pass {
        Pass::Forward => {
            let found = forward(&mut readers, task.namer, task.db, &keys).await;
            (found, &progress.keys_compared)
        }
        Pass::Reverse => {
            let found = reverse(&mut readers, task.db, &keys).await;
            (found, &progress.keys_looked_up)
        }
    };
    if found.is_ok() {
        compared.add(task.selected as u64);
    }
    (readers, task.number, found)
}

async fn forward(
    readers: &mut Readers,
    namer: Namer,
    db: Db,
    keys: &[Bytes],
) -> Result<Found, Error> {
    let mut found = Found::default();
    if keys.is_empty() {
        return Ok(found);
    }
    let examined = readers.examine(Dbs::same(db), keys).await?;
    for (key, examined) in keys.iter().zip(examined) {
        match examined {
            Examined::Equal => found.equal.push(namer.name(db, key)),
            Examined::Gone => {}
            Examined::Different(_) | Examined::Unreadable { .. } => found.suspects.push(own(key)),
        }
    }
    Ok(found)
}

async fn reverse(readers: &mut Readers, db: Db, keys: &[Bytes]) -> Result<Found, Error> {
    let mut found = Found::default();
    if !keys.is_empty() {
        let missing = readers.missing_on_source(db, keys).await?;
        found.suspects.extend(missing.iter().map(own));
    }
    Ok(found)
}

/// A copy: the name is a slice of a page that would live as long.
fn own(key: &Bytes) -> Bytes {
    Bytes::copy_from_slice(key)
}

/// Pages through the keys of a db.
struct Scan {
    peer: Peer,
    db: Db,
    process: Process,
}

impl Scan {
    /// Goes on behind `cursor`, as long as somebody takes the pages.
    async fn run(mut self, mut cursor: u64, pages: mpsc::Sender<Result<Page, Error>>) {
        loop {
            let page = self.page(cursor).await;
            let next = page.as_ref().map_or(0, |page| page.cursor);
            if pages.send(page).await.is_err() || next == 0 {
                return;
            }
            cursor = next;
        }
    }

    /// The page behind `cursor`; the first one, when the server is not the one that gave the cursor.
    async fn page(&mut self, cursor: u64) -> Result<Page, Error> {
        let page = self.ask(cursor).await?;
        match self.process.is_another(&mut self.peer).await? {
            true => self.ask(0).await,
            false => Ok(page),
        }
    }

    async fn ask(&mut self, cursor: u64) -> Result<Page, Error> {
        let cursor = cursor.to_string();
        let words: &[&[u8]] = &[b"SCAN", cursor.as_bytes(), b"COUNT", PAGE_KEYS];
        let asked = self.peer.ask_one(self.db, "page through its keys", words);
        let reply = match asked.await {
            Ok(reply) => reply,
            Err(error) if has_no_such_db(&error) => return Ok(Page::default()),
            Err(error) => return Err(error),
        };
        page_of(reply).ok_or_else(|| self.peer.error(ErrorKind::Answer("SCAN")))
    }
}

/// The process of a server that cursors come from. One that is started again, or another one that
/// takes over its address, has its keys in another order, where they mean nothing.
struct Process {
    run_id: Option<String>,
    /// The connections that had been opened when it was asked last.
    opened: u64,
}

impl Process {
    fn of(server: &Server) -> Process {
        Process {
            run_id: server.run_id.clone(),
            opened: 0,
        }
    }

    /// Whether the other end of a connection has become another process. It is asked only when the
    /// connection was opened anew.
    async fn is_another(&mut self, peer: &mut Peer) -> Result<bool, Error> {
        let mut is_another = false;
        while self.opened != peer.opened() {
            self.opened = peer.opened();
            let run_id = server::run_id(peer).await?;
            if run_id != self.run_id {
                tracing::warn!(
                    "the {} was started again: its keys are walked through once more",
                    peer.side()
                );
                self.run_id = run_id;
                is_another = true;
            }
        }
        Ok(is_another)
    }
}

fn page_of(reply: Reply) -> Option<Page> {
    let (cursor, keys) = replies::page(reply)?;
    let cursor = std::str::from_utf8(&cursor).ok()?.parse().ok()?;
    Some(Page { keys, cursor })
}
