//! A command and its arguments.

use bytes::{BufMut, Bytes, BytesMut};

use crate::keyspace::Escaped;

/// A command: its name and arguments, binary-safe.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    args: Vec<Bytes>,
}

impl Command {
    /// Makes a command of its name and arguments; `args` must not be empty.
    pub fn new(args: Vec<Bytes>) -> Command {
        debug_assert!(!args.is_empty());
        Command { args }
    }

    /// Makes a command by copying its parts.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Command {
        Command::new(parts.into_iter().map(Bytes::copy_from_slice).collect())
    }

    /// The name, in the case it was sent.
    pub fn name(&self) -> &[u8] {
        self.arg(0)
    }

    /// Whether the name is `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// The argument at `index`, counted from the name at 0; empty when there is none.
    pub fn arg(&self, index: usize) -> &[u8] {
        self.args.get(index).map_or(&[], |arg| arg)
    }

    /// Name and arguments.
    pub fn args(&self) -> &[Bytes] {
        &self.args
    }

    /// Takes the command apart.
    pub fn into_args(self) -> Vec<Bytes> {
        self.args
    }

    /// How many bytes [`Command::encode`] appends, at the most.
    pub fn encoded_len_max(&self) -> usize {
        self.args.iter().map(|arg| arg.len() + 25).sum::<usize>() + 25
    }

    /// Appends the command as an array of bulk strings.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut digits = itoa::Buffer::new();
        out.reserve(self.encoded_len_max());
        out.put_u8(b'*');
        out.put_slice(digits.format(self.args.len()).as_bytes());
        out.put_slice(b"\r\n");
        for arg in &self.args {
            out.put_u8(b'$');
            out.put_slice(digits.format(arg.len()).as_bytes());
            out.put_slice(b"\r\n");
            out.put_slice(arg);
            out.put_slice(b"\r\n");
        }
    }
}

/// Shows the name and the first argument only: values do not belong in logs.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name().escape_ascii())?;
        if self.args.len() > 1 {
            write!(f, " {}", Escaped(self.arg(1)))?;
        }
        match self.args.len() {
            0..=2 => Ok(()),
            n => write!(f, " and {} more", n - 2),
        }
    }
}
