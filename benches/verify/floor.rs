//! The least that reading both sides costs: each is paged through by SCAN, every key is asked for in
//! pipelines, and the replies are read and thrown away.
//!
//! One thread pages through a side, others ask for the pages; a page is always under way while the
//! one before is read.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use crate::support::server::Server;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// What is asked about a key.
pub(crate) type Questions = &'static [&'static [&'static str]];

/// Its value.
pub(crate) const VALUE: Questions = &[&["DUMP"]];
/// What a comparison in both directions has to know: how large the value is before it is asked for,
/// when it expires, the value, and whether the key of the other side is there.
pub(crate) const ALL: Questions = &[
    &["MEMORY", "USAGE"],
    &["PEXPIRETIME"],
    &["DUMP"],
    &["EXISTS"],
];

/// Reads everything that the servers have, all at once, over `lanes` connections each and one more
/// for the pages; returns how many bytes came.
pub(crate) fn read(
    servers: [&Server; 2],
    lanes: usize,
    page_keys: usize,
    questions: Questions,
) -> u64 {
    let sides = servers.map(|server| {
        let address = server.address();
        thread::spawn(move || read_side(&address, lanes, page_keys, questions))
    });
    sides.map(|side| side.join().unwrap()).iter().sum()
}

fn read_side(address: &str, lanes: usize, page_keys: usize, questions: Questions) -> u64 {
    let (sender, pages) = mpsc::sync_channel(lanes);
    let pages = Arc::new(Mutex::new(pages));
    let readers: Vec<_> = (0..lanes)
        .map(|_| {
            let (mut wire, pages) = (Wire::open(address), pages.clone());
            thread::spawn(move || wire.dump_all(&pages))
        })
        .collect();
    let mut wire = Wire::open(address);
    let mut cursor = b"0".to_vec();
    loop {
        let page = wire.scan(&cursor, page_keys, questions);
        cursor = page.0;
        sender.send(page.1).unwrap();
        if cursor == b"0" {
            break;
        }
    }
    drop(sender);
    let read: u64 = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .sum();
    read + wire.bytes_read
}

/// The questions about the keys of a page.
struct Page {
    commands: Vec<u8>,
    replies: usize,
}

struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer was not looked at yet.
    at: usize,
    end: usize,
    bytes_read: u64,
}

impl Wire {
    fn open(address: &str) -> Wire {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            buffer: vec![0; READ_BYTES],
            at: 0,
            end: 0,
            bytes_read: 0,
        }
    }

    /// Reads all pages: while one is read, the next is under way. Returns how many bytes came.
    fn dump_all(&mut self, pages: &Mutex<mpsc::Receiver<Page>>) -> u64 {
        let mut under_way = 0;
        loop {
            let page = pages.lock().unwrap().recv();
            if let Ok(page) = &page {
                self.stream.write_all(&page.commands).unwrap();
            }
            (0..under_way).for_each(|_| self.skip());
            match page {
                Ok(page) => under_way = page.replies,
                Err(_) => return self.bytes_read,
            }
        }
    }

    /// The next cursor, and the page.
    fn scan(&mut self, cursor: &[u8], count: usize, questions: Questions) -> (Vec<u8>, Page) {
        let count = count.to_string();
        let mut command = Vec::new();
        append(&mut command, &[b"SCAN", cursor, b"COUNT", count.as_bytes()]);
        self.stream.write_all(&command).unwrap();
        assert_eq!(self.line(), b"*2");
        let cursor = self.bulk();
        let header = self.line();
        let keys: usize = std::str::from_utf8(&header[1..]).unwrap().parse().unwrap();
        let mut commands = Vec::with_capacity(keys * questions.len() * 48);
        for _ in 0..keys {
            let key = self.bulk();
            for question in questions {
                let words = question.iter().map(|word| word.as_bytes());
                append(&mut commands, &words.chain([&key[..]]).collect::<Vec<_>>());
            }
        }
        let replies = keys * questions.len();
        (cursor, Page { commands, replies })
    }

    fn fill(&mut self) {
        self.at = 0;
        self.end = self.stream.read(&mut self.buffer).unwrap();
        assert!(self.end > 0, "the server has closed the connection");
        self.bytes_read += self.end as u64;
    }

    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        loop {
            if self.at == self.end {
                self.fill();
            }
            let rest = &self.buffer[self.at..self.end];
            match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&rest[..end]);
                    self.at += end + 1;
                    assert_eq!(line.pop(), Some(b'\r'));
                    return line;
                }
                None => {
                    line.extend_from_slice(rest);
                    self.at = self.end;
                }
            }
        }
    }

    /// The length of the string that follows; there is one.
    fn length(&mut self) -> usize {
        let line = self.line();
        let digits = line.strip_prefix(b"$").unwrap();
        std::str::from_utf8(digits).unwrap().parse().unwrap()
    }

    fn bulk(&mut self) -> Vec<u8> {
        let mut left = self.length() + 2;
        let mut bulk = Vec::with_capacity(left);
        while left > 0 {
            if self.at == self.end {
                self.fill();
            }
            let part = left.min(self.end - self.at);
            bulk.extend_from_slice(&self.buffer[self.at..self.at + part]);
            self.at += part;
            left -= part;
        }
        bulk.truncate(bulk.len() - 2);
        bulk
    }

    /// Reads a number or a string, and throws it away.
    fn skip(&mut self) {
        let line = self.line();
        let Some(digits) = line.strip_prefix(b"$") else {
            assert_eq!(line.first(), Some(&b':'));
            return;
        };
        let length: usize = std::str::from_utf8(digits).unwrap().parse().unwrap();
        let mut left = length + 2;
        while left > 0 {
            if self.at == self.end {
                self.fill();
            }
            let part = left.min(self.end - self.at);
            self.at += part;
            left -= part;
        }
    }
}

fn append(commands: &mut Vec<u8>, args: &[&[u8]]) {
    write!(commands, "*{}\r\n", args.len()).unwrap();
    for arg in args {
        write!(commands, "${}\r\n", arg.len()).unwrap();
        commands.extend_from_slice(arg);
        commands.extend_from_slice(b"\r\n");
    }
}
