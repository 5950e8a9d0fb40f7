//! Brackets that are open in a line, so that it can end anywhere and the next one go on.

/// A bracket that is open.
#[derive(Debug)]
struct Scope {
    kind: ScopeKind,
    /// What opens it again in the next line.
    reopen: Vec<u8>,
    close: u8,
    /// Nothing stands in it yet, so nothing needs a comma.
    empty: bool,
}

/// What a bracket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScopeKind {
    Value,
    Entries,
    Groups,
    Group,
    Consumers,
    Consumer,
    Pending,
    Nacked,
    Idempotency,
    Ids,
    CronKeys,
    CronArguments,
}

/// What opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    Array,
    Object,
}

/// The brackets that are open, the outermost first.
#[derive(Debug, Default)]
pub(super) struct Nest {
    scopes: Vec<Scope>,
}

impl Nest {
    /// Begins a value that is an array (`[`) or an object (`{`); earlier brackets are forgotten.
    pub(super) fn begin(&mut self, json: &mut Vec<u8>, open: Bracket) {
        self.scopes.clear();
        self.push(json, ScopeKind::Value, open, String::new());
    }

    /// Opens a bracket as a member of the innermost object.
    pub(super) fn open(&mut self, json: &mut Vec<u8>, kind: ScopeKind, open: Bracket, name: &str) {
        self.comma(json);
        self.push(json, kind, open, format!("\"{name}\":"));
    }

    /// Opens an object as an element of the innermost array; `head` is the member that names it
    /// and is repeated where it goes on.
    pub(super) fn open_named(&mut self, json: &mut Vec<u8>, kind: ScopeKind, head: &[u8]) {
        self.comma(json);
        let reopen = [b"{", head].concat();
        json.extend_from_slice(&reopen);
        self.scopes.push(Scope {
            kind,
            reopen,
            close: b'}',
            empty: false,
        });
    }

    /// Puts a comma where the next element or member needs one.
    pub(super) fn comma(&mut self, json: &mut Vec<u8>) {
        if let Some(scope) = self.scopes.last_mut() {
            if !scope.empty {
                json.push(b',');
            }
            scope.empty = false;
        }
    }

    /// Whether `kind` is the innermost bracket that is open.
    pub(super) fn is_in(&self, kind: ScopeKind) -> bool {
        self.scopes.last().is_some_and(|scope| scope.kind == kind)
    }

    /// Closes brackets until `kind` is the innermost one that is open.
    pub(super) fn back_to(&mut self, json: &mut Vec<u8>, kind: ScopeKind) {
        while let Some(scope) = self.scopes.pop_if(|scope| scope.kind != kind) {
            json.push(scope.close);
        }
    }

    /// Ends the line's value; the brackets stay open for the next line.
    pub(super) fn close(&self, json: &mut Vec<u8>) {
        json.extend(self.scopes.iter().rev().map(|scope| scope.close));
    }

    /// Opens all brackets again in the next line.
    pub(super) fn reopen(&mut self, json: &mut Vec<u8>) {
        let mut outer_is_named = false;
        let innermost = self.scopes.len().saturating_sub(1);
        for (n, scope) in self.scopes.iter_mut().enumerate() {
            if outer_is_named {
                json.push(b',');
            }
            json.extend_from_slice(&scope.reopen);
            // The name of what has one stands in it already.
            outer_is_named = matches!(scope.kind, ScopeKind::Group | ScopeKind::Consumer);
            scope.empty = n == innermost && !outer_is_named;
        }
    }

    fn push(&mut self, json: &mut Vec<u8>, kind: ScopeKind, open: Bracket, before: String) {
        let (open, close) = match open {
            Bracket::Array => (b'[', b']'),
            Bracket::Object => (b'{', b'}'),
        };
        let mut reopen = before.into_bytes();
        reopen.push(open);
        json.extend_from_slice(&reopen);
        self.scopes.push(Scope {
            kind,
            reopen,
            close,
            empty: true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_end_and_go_on_anywhere() {
        let (mut nest, mut json) = (Nest::default(), Vec::new());
        nest.begin(&mut json, Bracket::Object);
        nest.open(&mut json, ScopeKind::Groups, Bracket::Array, "groups");
        for name in [&b"\"name\":\"a\""[..], b"\"name\":\"b\""] {
            nest.back_to(&mut json, ScopeKind::Groups);
            nest.open_named(&mut json, ScopeKind::Group, name);
            nest.open(&mut json, ScopeKind::Consumers, Bracket::Array, "consumers");
            for element in [b"1", b"2"] {
                nest.comma(&mut json);
                json.extend_from_slice(element);
            }
        }
        nest.close(&mut json);
        json.push(b'\n');
        nest.reopen(&mut json);
        nest.comma(&mut json);
        json.extend_from_slice(b"3");
        nest.back_to(&mut json, ScopeKind::Value);
        nest.comma(&mut json);
        json.extend_from_slice(b"\"x\":4");
        nest.close(&mut json);
        let lines = String::from_utf8(json).unwrap();
        let expected = [
            r#"{"groups":[{"name":"a","consumers":[1,2]},{"name":"b","consumers":[1,2]}]}"#,
            r#"{"groups":[{"name":"b","consumers":[3]}],"x":4}"#,
        ];
        assert_eq!(lines.split('\n').collect::<Vec<_>>(), expected);
    }
}
