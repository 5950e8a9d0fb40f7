//! Commands to a server as fast as it takes them.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread::{self, JoinHandle},
};

use crate::support::server::Server;

/// What is written at once.
const WRITE_BYTES: usize = 256 * 1024;
/// The last reply of a load.
const END: &[u8] = b"$11\r\nend-of-load\r\n";

/// A connection that writes commands and only counts what is answered.
pub(crate) struct Load {
    stream: TcpStream,
    buffer: Vec<u8>,
    replies: Option<JoinHandle<()>>,
}

impl Load {
    /// Opens a connection.
    pub(crate) fn open(server: &Server) -> Load {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        let reading = stream.try_clone().unwrap();
        Load {
            stream,
            buffer: Vec::with_capacity(2 * WRITE_BYTES),
            replies: Some(thread::spawn(move || read_replies(reading))),
        }
    }

    /// Appends a command.
    pub(crate) fn command(&mut self, args: &[&[u8]]) {
        self.begin(args.len());
        for arg in args {
            self.arg(arg);
        }
    }

    /// Begins a command of so many arguments, its name included.
    pub(crate) fn begin(&mut self, args: usize) {
        if self.buffer.len() >= WRITE_BYTES {
            self.flush();
        }
        write!(self.buffer, "*{args}\r\n").unwrap();
    }

    /// Appends an argument of the command that was begun.
    pub(crate) fn arg(&mut self, arg: &[u8]) {
        write!(self.buffer, "${}\r\n", arg.len()).unwrap();
        self.buffer.extend_from_slice(arg);
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// Writes what was appended.
    pub(crate) fn flush(&mut self) {
        self.stream.write_all(&self.buffer).unwrap();
        self.buffer.clear();
    }

    /// Waits until everything is answered.
    pub(crate) fn finish(mut self) {
        self.command(&[b"ECHO", b"end-of-load"]);
        self.flush();
        if let Some(replies) = self.replies.take() {
            replies.join().unwrap();
        }
    }
}

/// Reads to the last reply; none of them may be an error. All replies before are single lines.
fn read_replies(mut stream: TcpStream) {
    let mut buffer = vec![0; WRITE_BYTES];
    let mut tail = vec![b'\n'];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the server has closed the connection");
        tail.extend_from_slice(&buffer[..read]);
        let refused = tail.windows(2).position(|pair| pair == b"\n-");
        if let Some(at) = refused {
            let text = String::from_utf8_lossy(&tail[at + 1..]).into_owned();
            panic!("refused: {}", text.lines().next().unwrap_or_default());
        }
        if tail.ends_with(END) {
            return;
        }
        let keep = tail.len().min(END.len()).max(1);
        tail.drain(..tail.len() - keep);
    }
}
