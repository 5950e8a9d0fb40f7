//! Puts a command together, argument by argument.

use bytes::Bytes;

use crate::resp::Command;

/// A command in the making.
#[derive(Debug, Clone)]
pub(super) struct Line(Vec<Bytes>);

impl Line {
    /// Begins with the name of the command.
    pub(super) fn new(name: &'static str) -> Line {
        Line(vec![Bytes::from_static(name.as_bytes())])
    }

    /// Adds a word of the command's syntax.
    pub(super) fn word(mut self, word: &'static str) -> Line {
        self.0.push(Bytes::from_static(word.as_bytes()));
        self
    }

    /// Adds an argument; shares its bytes.
    pub(super) fn arg(mut self, arg: &Bytes) -> Line {
        self.0.push(arg.clone());
        self
    }

    /// Adds arguments; shares their bytes.
    pub(super) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a Bytes>) -> Line {
        self.0.extend(args.into_iter().cloned());
        self
    }

    /// Adds a number or whatever else has a text of its own.
    pub(super) fn text(mut self, text: impl ToString) -> Line {
        self.0.push(Bytes::from(text.to_string()));
        self
    }

    /// The finished command.
    pub(super) fn done(self) -> Command {
        Command::new(self.0)
    }
}
