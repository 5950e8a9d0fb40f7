//! An ordinary client of a server: commands in, replies out, errors as replies.

use std::{collections::BTreeSet, time::Duration};

use redis::{Connection, Value};

/// One command: its name and arguments.
pub(crate) type Command = Vec<Vec<u8>>;

/// A [`Command`] of texts, bytes and numbers.
macro_rules! command {
    ($($argument:expr),+ $(,)?) => {
        vec![$($crate::support::client::Argument::bytes(&$argument)),+]
    };
}

/// What can stand in a command.
pub(crate) trait Argument {
    fn bytes(&self) -> Vec<u8>;
}

macro_rules! argument {
    ($($type:ty => |$value:ident| $bytes:expr),+ $(,)?) => {
        $(impl Argument for $type {
            fn bytes(&self) -> Vec<u8> {
                let $value = self;
                $bytes
            }
        })+
    };
}

argument! {
    str => |v| v.as_bytes().to_vec(),
    String => |v| v.as_bytes().to_vec(),
    [u8] => |v| v.to_vec(),
    Vec<u8> => |v| v.clone(),
    i64 => |v| v.to_string().into_bytes(),
    u64 => |v| v.to_string().into_bytes(),
    i32 => |v| v.to_string().into_bytes(),
    usize => |v| v.to_string().into_bytes(),
    // The Debug form is the shortest that reads back as the same double.
    f64 => |v| format!("{v:?}").into_bytes(),
}

impl<T: Argument + ?Sized> Argument for &T {
    fn bytes(&self) -> Vec<u8> {
        (*self).bytes()
    }
}

impl<const N: usize> Argument for [u8; N] {
    fn bytes(&self) -> Vec<u8> {
        self.to_vec()
    }
}

/// A connection to a server.
pub(crate) struct Client {
    connection: Connection,
    commands: BTreeSet<String>,
}

impl Client {
    /// Connects by a URL; a server that is silent for a minute is an error.
    pub(crate) fn open(url: &str) -> redis::RedisResult<Client> {
        let connection = redis::Client::open(url)?.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client {
            connection,
            commands: BTreeSet::new(),
        })
    }

    /// The reply, which may be [`Value::ServerError`]; a lost connection is the error.
    pub(crate) fn try_run(&mut self, command: &Command) -> redis::RedisResult<Value> {
        self.connection
            .send_packed_command(&redis::pack_command(command))?;
        self.connection.recv_response()
    }

    /// The reply to a command that must succeed.
    pub(crate) fn run(&mut self, command: Command) -> Value {
        match self.try_run(&command) {
            Ok(Value::ServerError(error)) => panic!("{}: {error:?}", shown_command(&command)),
            Ok(reply) => reply,
            Err(error) => panic!("{}: {error}", shown_command(&command)),
        }
    }

    /// The replies to many commands; errors stay among them.
    pub(crate) fn try_pipeline(&mut self, commands: &[Command]) -> redis::RedisResult<Vec<Value>> {
        let mut replies = Vec::with_capacity(commands.len());
        // Servers read on while their replies wait, so a batch of any size cannot lock up; the
        // bound keeps what waits there small.
        for batch in commands.chunks(512) {
            let packed: Vec<u8> = batch.iter().flat_map(|c| redis::pack_command(c)).collect();
            self.connection.send_packed_command(&packed)?;
            for _ in batch {
                replies.push(self.connection.recv_response()?);
            }
        }
        Ok(replies)
    }

    /// The replies to many commands that must all succeed.
    pub(crate) fn pipeline(&mut self, commands: &[Command]) -> Vec<Value> {
        let replies = self.try_pipeline(commands).unwrap();
        for (command, reply) in commands.iter().zip(&replies) {
            if let Value::ServerError(error) = reply {
                panic!("{}: {error:?}", shown_command(command));
            }
        }
        replies
    }

    pub(crate) fn select(&mut self, db: u32) {
        self.run(command!["SELECT", u64::from(db)]);
    }

    /// Whether the server has this command (upper case).
    pub(crate) fn knows(&mut self, name: &str) -> bool {
        if self.commands.is_empty() {
            let listed = items(&self.run(command!["COMMAND"])).to_vec();
            let names = listed.iter().map(|c| text(&items(c)[0]).to_uppercase());
            self.commands = names.collect();
        }
        self.commands.contains(name)
    }

    /// The value of `name:` in a section of INFO.
    pub(crate) fn info(&mut self, section: &str, name: &str) -> Option<String> {
        let info = text(&self.run(command!["INFO", section]));
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::to_owned)
    }

    /// The value of one configuration setting.
    pub(crate) fn config(&mut self, name: &str) -> String {
        text(&items(&self.run(command!["CONFIG", "GET", name]))[1])
    }
}

/// The bytes of a string reply; empty for anything else.
pub(crate) fn bytes(reply: &Value) -> Vec<u8> {
    match reply {
        Value::BulkString(bytes) => bytes.clone(),
        Value::SimpleString(text) => text.clone().into_bytes(),
        Value::Okay => b"OK".to_vec(),
        Value::Int(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

/// The text of a string reply.
pub(crate) fn text(reply: &Value) -> String {
    String::from_utf8_lossy(&bytes(reply)).into_owned()
}

/// The number of an integer reply, or of a string that spells one.
pub(crate) fn number(reply: &Value) -> i64 {
    text(reply)
        .parse()
        .unwrap_or_else(|_| panic!("no number: {reply:?}"))
}

/// The elements of an array reply; none for anything else.
pub(crate) fn items(reply: &Value) -> &[Value] {
    match reply {
        Value::Array(items) | Value::Set(items) => items,
        _ => &[],
    }
}

/// The field of a reply that lists names and values in turns.
pub(crate) fn field<'a>(reply: &'a Value, name: &str) -> Option<&'a Value> {
    let mut pairs = items(reply).chunks_exact(2);
    pairs.find_map(|pair| (text(&pair[0]) == name).then_some(&pair[1]))
}

/// Foreign bytes for people: quoted, escaped and cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(96)];
    let rest = match bytes.len() - cut.len() {
        0 => String::new(),
        _ => format!("... ({} bytes)", bytes.len()),
    };
    format!("\"{}\"{rest}", cut.escape_ascii())
}

fn shown_command(command: &Command) -> String {
    let shown: Vec<String> = command.iter().take(12).map(|part| shown(part)).collect();
    shown.join(" ")
}
