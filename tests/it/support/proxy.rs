//! A TCP proxy on loopback that can spoil what passes through it.
//!
//! Faults apply to the bytes that the server sends, counted from 0 over each connection; what
//! the client sends passes as it is. One proxy takes any number of connections, so it can stand
//! before a source (one link) or a target (many lanes).

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::server::Server;

/// What happens to the bytes of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection is closed after this many bytes, which arrive.
    CutAt(u64),
    /// One bit of the byte at this offset is turned.
    FlipBitAt(u64),
    /// Each piece of up to 64 KiB arrives this much later.
    Delay(Duration),
    /// So many bytes a second arrive.
    Throttle(u32),
    /// Nothing more arrives from the piece of up to 64 KiB on that this byte is in, until
    /// [`Proxy::let_go`].
    HoldAt(u64),
}

/// A running proxy; its connections are closed when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Mutex<Fault>,
    /// Only connections whose server bytes contain this are spoilt, counted from its first byte.
    after: Mutex<Option<Vec<u8>>>,
    frozen: Mutex<bool>,
    thawed: Condvar,
    closed: AtomicBool,
    passed: AtomicU64,
    open: Mutex<Vec<Open>>,
    /// The connections that are held.
    held: Mutex<Vec<u64>>,
    let_go: Condvar,
}

/// Both sides of an open connection.
struct Open {
    number: u64,
    sides: [TcpStream; 2],
}

impl Open {
    fn close(&self) {
        for side in &self.sides {
            let _ = side.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// A proxy before this server that passes everything.
    pub(crate) fn before(server: &Server) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            after: Mutex::new(None),
            frozen: Mutex::new(false),
            thawed: Condvar::new(),
            closed: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
            held: Mutex::new(Vec::new()),
            let_go: Condvar::new(),
        });
        let (address, accepting) = (server.address(), shared.clone());
        thread::spawn(move || accept(&listener, &address, &accepting));
        Proxy { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The fault of the connections that are opened from here on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// Counts a fault's offset from the first appearance of these bytes in what the server sends
    /// (`REDIS00` or `VALKEY` for the snapshot), and spares connections that never show them.
    pub(crate) fn set_after(&self, mark: &[u8], fault: Fault) {
        *self.shared.after.lock().unwrap() = Some(mark.to_vec());
        self.set(fault);
    }

    /// Passes nothing in either direction, with every connection open.
    pub(crate) fn freeze(&self) {
        *self.shared.frozen.lock().unwrap() = true;
    }

    /// Goes on after [`Proxy::freeze`].
    pub(crate) fn thaw(&self) {
        *self.shared.frozen.lock().unwrap() = false;
        self.shared.thawed.notify_all();
    }

    /// Closes every open connection; new ones are taken.
    pub(crate) fn cut_now(&self) {
        self.cut(|_| true);
        self.let_go();
    }

    /// How many connections are held by [`Fault::HoldAt`].
    pub(crate) fn held(&self) -> usize {
        self.shared.held.lock().unwrap().len()
    }

    /// Lets the held connections go on.
    pub(crate) fn let_go(&self) {
        self.shared.held.lock().unwrap().clear();
        self.shared.let_go.notify_all();
    }

    /// Closes the held connections; the others stay open.
    pub(crate) fn cut_held(&self) {
        let held = self.shared.held.lock().unwrap().clone();
        self.cut(|number| held.contains(&number));
        self.let_go();
    }

    /// Closes the connections that are not held.
    pub(crate) fn cut_others(&self) {
        let held = self.shared.held.lock().unwrap().clone();
        self.cut(|number| !held.contains(&number));
    }

    fn cut(&self, is_meant: impl Fn(u64) -> bool) {
        let mut open = self.shared.open.lock().unwrap();
        open.retain(|open| {
            let is_meant = is_meant(open.number);
            if is_meant {
                open.close();
            }
            !is_meant
        });
    }

    /// Bytes that the server sent and the proxy passed on, over all connections.
    pub(crate) fn passed_bytes(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.thaw();
        self.cut_now();
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn accept(listener: &TcpListener, address: &str, shared: &Arc<Shared>) {
    for (number, client) in (0..).zip(listener.incoming()) {
        if shared.closed.load(Ordering::Relaxed) {
            return;
        }
        let (Ok(client), Ok(server)) = (client, TcpStream::connect(address)) else {
            continue;
        };
        let spoiler = Spoiler {
            number,
            fault: *shared.fault.lock().unwrap(),
            after: shared.after.lock().unwrap().clone(),
            offset: 0,
            tail: Vec::new(),
            begun: None,
        };
        shared.open.lock().unwrap().push(Open {
            number,
            sides: [client.try_clone().unwrap(), server.try_clone().unwrap()],
        });
        let to_server = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let for_requests = shared.clone();
        thread::spawn(move || pass(to_server.0, to_server.1, &for_requests, None));
        let for_replies = shared.clone();
        thread::spawn(move || pass(server, client, &for_replies, Some(spoiler)));
    }
}

/// Passes bytes from one socket to the other until either ends, then closes both.
fn pass(mut from: TcpStream, mut into: TcpStream, shared: &Shared, spoiler: Option<Spoiler>) {
    let mut spoiler = spoiler;
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let frozen = shared.frozen.lock().unwrap();
        drop(shared.thawed.wait_while(frozen, |frozen| *frozen).unwrap());
        let (kept, cut) = match &mut spoiler {
            Some(spoiler) => spoiler.spoil(&mut piece[..count], shared),
            None => (count, false),
        };
        if into.write_all(&piece[..kept]).is_err() {
            break;
        }
        if spoiler.is_some() {
            shared.passed.fetch_add(kept as u64, Ordering::Relaxed);
        }
        if cut {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Applies a fault to one connection.
struct Spoiler {
    /// The connection's.
    number: u64,
    fault: Fault,
    /// Not seen yet; the fault waits for it.
    after: Option<Vec<u8>>,
    /// Bytes since the start, or since the mark.
    offset: u64,
    /// The end of the bytes before, where a mark may have begun.
    tail: Vec<u8>,
    /// When the first byte came that counts.
    begun: Option<Instant>,
}

impl Spoiler {
    /// Changes the bytes in place; how many of them to pass, and whether to close then.
    fn spoil(&mut self, piece: &mut [u8], shared: &Shared) -> (usize, bool) {
        let Some(start) = self.start(piece) else {
            return (piece.len(), false);
        };
        let (begin, end) = (self.offset, self.offset + (piece.len() - start) as u64);
        self.offset = end;
        let at = |offset: u64| start + (offset - begin) as usize;
        match self.fault {
            Fault::CutAt(offset) if (begin..=end).contains(&offset) => (at(offset), true),
            Fault::FlipBitAt(offset) if (begin..end).contains(&offset) => {
                piece[at(offset)] ^= 0x10;
                (piece.len(), false)
            }
            Fault::Delay(delay) => {
                thread::sleep(delay);
                (piece.len(), false)
            }
            Fault::Throttle(bytes_per_second) => {
                let begun = *self.begun.get_or_insert_with(Instant::now);
                let due = Duration::from_secs_f64(end as f64 / f64::from(bytes_per_second));
                thread::sleep(due.saturating_sub(begun.elapsed()));
                (piece.len(), false)
            }
            Fault::HoldAt(offset) if (begin..end).contains(&offset) => {
                let mut held = shared.held.lock().unwrap();
                held.push(self.number);
                let is_held = |held: &mut Vec<u64>| held.contains(&self.number);
                drop(shared.let_go.wait_while(held, is_held).unwrap());
                (piece.len(), false)
            }
            Fault::None | Fault::CutAt(_) | Fault::FlipBitAt(_) | Fault::HoldAt(_) => {
                (piece.len(), false)
            }
        }
    }

    /// Where in this piece the counted bytes begin; `None` while the mark was not seen.
    fn start(&mut self, piece: &[u8]) -> Option<usize> {
        let Some(mark) = &self.after else {
            return Some(0);
        };
        let before = self.tail.len();
        self.tail.extend_from_slice(piece);
        let found = self.tail.windows(mark.len()).position(|w| w == mark);
        if let Some(found) = found {
            // The part of the mark that has passed already counts as well.
            self.offset = before.saturating_sub(found) as u64;
            self.after = None;
            self.tail.clear();
            return Some(found.saturating_sub(before));
        }
        let kept = self.tail.len().saturating_sub(mark.len() - 1);
        self.tail.drain(..kept);
        None
    }
}
