//! Error replies: what they mean and what may be done about them.
//!
//! A server's error begins with a code word (`-READONLY You can't ...`), apart from the many that
//! only say `ERR` and are known by their text. Texts differ between versions; the table in the
//! tests has them as servers from Redis 2.8 to 8.6 and Valkey 7.2 to 9.1 sent them.
//!
//! To add a kind: the enum, `retry`, `hint`, one of the two tables below, a row in the tests.

use std::fmt;

use nom::{
    IResult, Parser,
    character::complete::{char, u16},
    combinator::{all_consuming, rest, verify},
    sequence::terminated,
};

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyError {
    /// What it means.
    pub kind: ReplyErrorKind,
    /// The reply as it was sent, without the leading `-`; bytes that are not UTF-8 are replaced.
    pub text: Box<str>,
}

/// What an error reply means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyErrorKind {
    /// `MOVED`: another node serves this slot.
    Moved {
        /// The slot.
        slot: u16,
        /// `host:port` of the node; an empty host means the host that answered.
        addr: Box<str>,
    },
    /// `ASK`: the slot is being moved, and this key is at another node already.
    Ask {
        /// The slot.
        slot: u16,
        /// `host:port` of the node; an empty host means the host that answered.
        addr: Box<str>,
    },
    /// `TRYAGAIN`: the slot is being moved, and the keys of the command are at two nodes.
    TryAgain,
    /// `CROSSSLOT`: the keys of the command or transaction are in several slots.
    CrossSlot,
    /// `CLUSTERDOWN`: a slot has no node, or the cluster no majority.
    ClusterDown,
    /// `LOADING`: the server reads its dataset after a start or a full resync.
    Loading,
    /// `READONLY`: the server is a replica.
    ReadOnly,
    /// `OOM`: `maxmemory` is reached and nothing can be evicted.
    Oom,
    /// `BUSY`: a script or function blocks the server.
    Busy,
    /// `MISCONF`: the server cannot save and therefore refuses writes.
    Misconf,
    /// `NOREPLICAS`: fewer good replicas than `min-replicas-to-write`.
    NoReplicas,
    /// `MASTERDOWN`: a replica that has lost its primary and does not serve stale data.
    MasterDown,
    /// `NOMASTERLINK`: a replica that has lost its primary cannot give us a snapshot or stream.
    NoMasterLink,
    /// `NOAUTH`: the connection is not authenticated.
    NoAuth,
    /// `WRONGPASS`: no such user, wrong password, or the user is disabled.
    WrongPass,
    /// `NOPERM`: the ACL user may not do this.
    NoPerm,
    /// `NOPROTO`: the protocol version asked for is not supported.
    NoProto,
    /// `DENIED`: protected mode, the server only takes connections from its own host.
    Denied,
    /// The server has as many clients as `maxclients` allows.
    MaxClients,
    /// `BUSYKEY`: RESTORE without REPLACE, or a similar command, found the key.
    BusyKey,
    /// `BUSYGROUP`: the consumer group exists.
    BusyGroup,
    /// `EXECABORT`: nothing of the transaction was executed; an earlier reply says why.
    ExecAbort,
    /// `NOSCRIPT`: no script of this SHA1.
    NoScript,
    /// `WRONGTYPE`: the key holds another type.
    WrongType,
    /// The server does not have the command or subcommand, or its name was changed.
    UnknownCommand,
    /// RESTORE or FUNCTION RESTORE does not take the payload's version, checksum or type.
    BadPayload,
    /// Anything else.
    Other,
}

/// Whether a refused command may be sent again.
///
/// Only kinds by which the server says that it executed nothing may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Repeating gives the same error, or the cause has to be treated first.
    Never,
    /// The same bytes on the same connection, after a pause.
    SameBytes,
    /// The same command after connecting again, to the server that is in charge by then; it may
    /// have been restarted or replaced, so what it has must be asked anew (the checkpoint).
    AfterReconnect,
}

/// Codes that alone tell the kind.
const CODES: &[(&str, ReplyErrorKind)] = &[
    ("TRYAGAIN", ReplyErrorKind::TryAgain),
    ("CROSSSLOT", ReplyErrorKind::CrossSlot),
    ("CLUSTERDOWN", ReplyErrorKind::ClusterDown),
    ("LOADING", ReplyErrorKind::Loading),
    ("READONLY", ReplyErrorKind::ReadOnly),
    ("OOM", ReplyErrorKind::Oom),
    ("BUSY", ReplyErrorKind::Busy),
    ("MISCONF", ReplyErrorKind::Misconf),
    ("NOREPLICAS", ReplyErrorKind::NoReplicas),
    ("MASTERDOWN", ReplyErrorKind::MasterDown),
    ("NOMASTERLINK", ReplyErrorKind::NoMasterLink),
    ("NOAUTH", ReplyErrorKind::NoAuth),
    ("WRONGPASS", ReplyErrorKind::WrongPass),
    ("NOPERM", ReplyErrorKind::NoPerm),
    ("NOPROTO", ReplyErrorKind::NoProto),
    ("DENIED", ReplyErrorKind::Denied),
    ("BUSYKEY", ReplyErrorKind::BusyKey),
    ("BUSYGROUP", ReplyErrorKind::BusyGroup),
    ("EXECABORT", ReplyErrorKind::ExecAbort),
    ("NOSCRIPT", ReplyErrorKind::NoScript),
    ("WRONGTYPE", ReplyErrorKind::WrongType),
];

/// How the text behind `ERR` begins, in lower case, where the code does not tell the kind.
const ERR_TEXTS: &[(&str, ReplyErrorKind)] = &[
    ("unknown command", ReplyErrorKind::UnknownCommand),
    ("unknown subcommand", ReplyErrorKind::UnknownCommand),
    (
        "unknown redis command called from script",
        ReplyErrorKind::UnknownCommand,
    ),
    (
        "dump payload version or checksum are wrong",
        ReplyErrorKind::BadPayload,
    ),
    ("bad data format", ReplyErrorKind::BadPayload),
    ("max number of clients reached", ReplyErrorKind::MaxClients),
    (
        "max number of clients + cluster connections reached",
        ReplyErrorKind::MaxClients,
    ),
    ("invalid password", ReplyErrorKind::WrongPass),
    ("operation not permitted", ReplyErrorKind::NoAuth),
    (
        "can't sync while not connected with my master",
        ReplyErrorKind::NoMasterLink,
    ),
    ("target key name already exists", ReplyErrorKind::BusyKey),
];

impl ReplyError {
    /// Reads an error reply without its leading `-` and its CR LF.
    pub fn parse(line: &[u8]) -> ReplyError {
        let text = String::from_utf8_lossy(line);
        ReplyError {
            kind: classify(&text),
            text: text.into(),
        }
    }

    /// The first word, such as `ERR` or `READONLY`.
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }
}

/// The text on one line: control characters are escaped.
impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_unicode()),
            c => write!(f, "{c}"),
        })
    }
}

impl std::error::Error for ReplyError {}

impl ReplyErrorKind {
    /// Whether the refused command may be sent again.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn retry(&self) -> Retry {
        match self {
            ReplyErrorKind::TryAgain
            | ReplyErrorKind::ClusterDown
            | ReplyErrorKind::Loading
            | ReplyErrorKind::Oom
            | ReplyErrorKind::Busy
            | ReplyErrorKind::Misconf
            | ReplyErrorKind::NoReplicas => Retry::SameBytes,
            ReplyErrorKind::Moved { .. }
            | ReplyErrorKind::Ask { .. }
            | ReplyErrorKind::ReadOnly
            | ReplyErrorKind::MasterDown
            | ReplyErrorKind::NoMasterLink
            | ReplyErrorKind::MaxClients => Retry::AfterReconnect,
            ReplyErrorKind::CrossSlot
            | ReplyErrorKind::NoAuth
            | ReplyErrorKind::WrongPass
            | ReplyErrorKind::NoPerm
            | ReplyErrorKind::NoProto
            | ReplyErrorKind::Denied
            | ReplyErrorKind::BusyKey
            | ReplyErrorKind::BusyGroup
            | ReplyErrorKind::ExecAbort
            | ReplyErrorKind::NoScript
            | ReplyErrorKind::WrongType
            | ReplyErrorKind::UnknownCommand
            | ReplyErrorKind::BadPayload
            | ReplyErrorKind::Other => Retry::Never,
        }
    }

    /// Whether the cause may go away by itself.
    pub fn passes(&self) -> bool {
        self.retry() != Retry::Never
    }

    /// What the operator can do about it.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn hint(&self) -> &'static str {
        match self {
            ReplyErrorKind::Moved { .. } | ReplyErrorKind::Ask { .. } => {
                "the server is a node of a cluster and another node has this slot; name the cluster's \
                 nodes, or a server that is not in a cluster"
            }
            ReplyErrorKind::TryAgain => {
                "slots are being moved in the cluster; finish that first (CLUSTER NODES shows them)"
            }
            ReplyErrorKind::CrossSlot => {
                "a cluster takes only keys of one slot in a command or transaction; give the keys one \
                 hash tag, or use a server that is not in a cluster"
            }
            ReplyErrorKind::ClusterDown => {
                "bring the failed node back or give its slots to another (CLUSTER INFO shows the state)"
            }
            ReplyErrorKind::Loading => {
                "wait until the server has loaded its dataset (INFO persistence: loading_eta_seconds)"
            }
            ReplyErrorKind::ReadOnly => {
                "the server is a replica; name its primary (INFO replication: master_host), or \
                 promote it"
            }
            ReplyErrorKind::Oom => {
                "raise maxmemory (CONFIG SET maxmemory), free memory, or allow eviction"
            }
            ReplyErrorKind::Busy => {
                "a script blocks the server; wait, or end it with SCRIPT KILL or FUNCTION KILL"
            }
            ReplyErrorKind::Misconf => {
                "the server cannot save its dataset; look at its log and disk, or CONFIG SET \
                 stop-writes-on-bgsave-error no"
            }
            ReplyErrorKind::NoReplicas => {
                "bring replicas back, or lower min-replicas-to-write (min-slaves-to-write before 5.0)"
            }
            ReplyErrorKind::MasterDown | ReplyErrorKind::NoMasterLink => {
                "the server is a replica without its primary; restore that link (INFO replication: \
                 master_link_status), or name the primary"
            }
            ReplyErrorKind::NoAuth => "give the password of the server",
            ReplyErrorKind::WrongPass => {
                "check user and password, and that the user is enabled (ACL LIST)"
            }
            ReplyErrorKind::NoPerm => {
                "allow what the message names to the user (ACL SETUSER <user> +<command>)"
            }
            ReplyErrorKind::NoProto => "use a server, or a proxy, that speaks RESP2",
            ReplyErrorKind::Denied => {
                "the server runs in protected mode; set a password there, or connect from its own host"
            }
            ReplyErrorKind::MaxClients => {
                "raise maxclients, or close connections that are not needed (CLIENT LIST)"
            }
            ReplyErrorKind::BusyKey => {
                "somebody else writes to the target, or it was not empty; empty it, or say what to do \
                 with existing keys"
            }
            ReplyErrorKind::BusyGroup => {
                "the target has this consumer group already: a part of the stream was applied before, \
                 or somebody else writes to it; start again with an empty target"
            }
            ReplyErrorKind::ExecAbort => "see the first refused command of the transaction",
            ReplyErrorKind::NoScript => {
                "the target does not have the script; load it there (SCRIPT LOAD), or start again"
            }
            ReplyErrorKind::WrongType => {
                "the target has another type under this key: somebody else writes to it; stop that and \
                 start again with an empty target"
            }
            ReplyErrorKind::UnknownCommand => {
                "the server is too old for this command, lacks a module, or has it renamed or blocked"
            }
            ReplyErrorKind::BadPayload => {
                "the target cannot read this value's format: it is older, of another family, or lacks \
                 a module"
            }
            ReplyErrorKind::Other => "look at the server's log",
        }
    }
}

/// Tells the kind of an error by its text.
fn classify(text: &str) -> ReplyErrorKind {
    let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
    if let Some((_, kind)) = CODES.iter().find(|(known, _)| *known == code) {
        return kind.clone();
    }
    match code {
        "MOVED" => redirect(rest).map(|(slot, addr)| ReplyErrorKind::Moved { slot, addr }),
        "ASK" => redirect(rest).map(|(slot, addr)| ReplyErrorKind::Ask { slot, addr }),
        "ERR" => classify_err(rest),
        _ => None,
    }
    .unwrap_or(ReplyErrorKind::Other)
}

/// Tells the kind of an error that only says `ERR`.
fn classify_err(text: &str) -> Option<ReplyErrorKind> {
    if text.starts_with("Error running script") {
        return classify_in_script(text);
    }
    let begins = |known: &str| {
        text.get(..known.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(known))
    };
    ERR_TEXTS
        .iter()
        .find(|(known, _)| begins(known))
        .map(|(_, kind)| kind.clone())
}

/// Tells the kind of an error that a script met: up to 6.2 the real one stands at the end of
/// `ERR Error running script (call to f_<sha>): @user_script:1: @user_script: 1: -OOM ...`.
/// From 7.0 on it stands at the beginning, as it does without a script.
///
/// Only refusals by the state of the server are taken from there. Those come before the script's
/// first write, so nothing was executed; of other errors it is not known what the script had done.
fn classify_in_script(text: &str) -> Option<ReplyErrorKind> {
    if text.contains(": Unknown Redis command called from Lua script") {
        return Some(ReplyErrorKind::UnknownCommand);
    }
    let (_, inner) = text.split_once(": -")?;
    match classify(inner) {
        kind @ (ReplyErrorKind::Oom
        | ReplyErrorKind::ReadOnly
        | ReplyErrorKind::Misconf
        | ReplyErrorKind::NoReplicas) => Some(kind),
        _ => None,
    }
}

/// Reads `<slot> <host>:<port>`.
fn redirect(text: &str) -> Option<(u16, Box<str>)> {
    let slot = verify(u16, |slot: &u16| *slot < 16384);
    let addr = verify(rest, |addr: &str| addr.contains(':'));
    let parsed: IResult<&str, (u16, &str)> =
        all_consuming((terminated(slot, char(' ')), addr)).parse(text);
    parsed.ok().map(|(_, (slot, addr))| (slot, addr.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_kind_of_every_text_that_servers_sent() {
        use ReplyErrorKind::*;
        let moved = |slot, addr: &str| Moved {
            slot,
            addr: addr.into(),
        };
        for (text, kind) in [
            ("MOVED 15495 127.0.0.1:7001", moved(15495, "127.0.0.1:7001")),
            ("MOVED 0 ::1:7001", moved(0, "::1:7001")),
            ("MOVED 866 :7001", moved(866, ":7001")),
            (
                "ASK 3300 node-b.example:6379",
                Ask {
                    slot: 3300,
                    addr: "node-b.example:6379".into(),
                },
            ),
            ("MOVED 16384 127.0.0.1:7001", Other),
            ("MOVED x 127.0.0.1:7001", Other),
            ("MOVED 1", Other),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                TryAgain,
            ),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                CrossSlot,
            ),
            ("CLUSTERDOWN The cluster is down", ClusterDown),
            ("CLUSTERDOWN Hash slot not served", ClusterDown),
            ("LOADING Redis is loading the dataset in memory", Loading),
            ("LOADING Valkey is loading the dataset in memory", Loading),
            (
                "READONLY You can't write against a read only slave.",
                ReadOnly,
            ),
            (
                "READONLY You can't write against a read only replica.",
                ReadOnly,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Oom,
            ),
            (
                "ERR Error running script (call to f_d8f2fad9f8e86a53d2a6ebd960b33c4972cacc37): \
                 @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
                Oom,
            ),
            (
                "ERR Error running script (call to f_d8f2fad9f8e86a53d2a6ebd960b33c4972cacc37): \
                 @user_script:1: user_script:1: boom -OOM",
                Other,
            ),
            (
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                Busy,
            ),
            (
                "BUSY Valkey is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
                Busy,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
                Misconf,
            ),
            ("NOREPLICAS Not enough good slaves to write.", NoReplicas),
            ("NOREPLICAS Not enough good replicas to write.", NoReplicas),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                MasterDown,
            ),
            (
                "NOMASTERLINK Can't SYNC while not connected with my master",
                NoMasterLink,
            ),
            ("NOMASTERLINK Can't SYNC while failing over", NoMasterLink),
            (
                "ERR Can't SYNC while not connected with my master",
                NoMasterLink,
            ),
            ("NOAUTH Authentication required.", NoAuth),
            ("ERR operation not permitted", NoAuth),
            ("ERR invalid password", WrongPass),
            ("WRONGPASS invalid username-password pair", WrongPass),
            (
                "WRONGPASS invalid username-password pair or user is disabled.",
                WrongPass,
            ),
            (
                "NOPERM this user has no permissions to run the 'psync' command or its subcommand",
                NoPerm,
            ),
            (
                "NOPERM User rep has no permissions to run the 'psync' command",
                NoPerm,
            ),
            ("NOPROTO unsupported protocol version", NoProto),
            (
                "DENIED Redis is running in protected mode because protected mode is enabled",
                Denied,
            ),
            ("ERR max number of clients reached", MaxClients),
            ("BUSYKEY Target key name already exists.", BusyKey),
            ("BUSYGROUP Consumer Group name already exists", BusyGroup),
            (
                "EXECABORT Transaction discarded because of previous errors.",
                ExecAbort,
            ),
            ("NOSCRIPT No matching script. Please use EVAL.", NoScript),
            ("NOSCRIPT No matching script.", NoScript),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                WrongType,
            ),
            ("ERR unknown command 'PSYNC'", UnknownCommand),
            (
                "ERR unknown command `PSYNC`, with args beginning with: `?`, `-1`, ",
                UnknownCommand,
            ),
            (
                "ERR unknown command 'HPEXPIREAT', with args beginning with: 'h' '1' ",
                UnknownCommand,
            ),
            (
                "ERR Unknown subcommand or wrong number of arguments for 'LOAD'. Try FUNCTION HELP.",
                UnknownCommand,
            ),
            (
                "ERR unknown subcommand 'KILL'. Try CLIENT HELP.",
                UnknownCommand,
            ),
            (
                "ERR Error running script (call to f_2bd54cf896593e0f67829606ba9f4de698309825): \
                 @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
                ReadOnly,
            ),
            (
                "ERR Error running script (call to f_2bd54cf896593e0f67829606ba9f4de698309825): \
                 @user_script:1: @user_script: 1: -NOREPLICAS Not enough good replicas to write.",
                NoReplicas,
            ),
            (
                "ERR Error running script (call to f_123731797f0f906fb719f8c3fd2ac32d5a049520): \
                 @user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value",
                Other,
            ),
            (
                "ERR Error running script (call to f_206396248e12c6e742fd7296250433c8d7343b74): \
                 @user_script:1: @user_script: 1: Unknown Redis command called from Lua script",
                UnknownCommand,
            ),
            (
                "READONLY You can't write against a read only replica. script: \
                 2bd54cf896593e0f67829606ba9f4de698309825, on @user_script:1.",
                ReadOnly,
            ),
            (
                "ERR Unknown Redis command called from script script: \
                 206396248e12c6e742fd7296250433c8d7343b74, on @user_script:1.",
                UnknownCommand,
            ),
            (
                "ERR Unknown command called from script script: on @user_script:1.",
                UnknownCommand,
            ),
            ("ERR DUMP payload version or checksum are wrong", BadPayload),
            ("ERR Bad data format", BadPayload),
            ("ERR syntax error", Other),
            ("ERR no such key", Other),
            (
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
                Other,
            ),
            ("ERR value is not an integer or out of range", Other),
            ("ERR", Other),
            ("", Other),
            ("OOMG", Other),
        ] {
            let error = ReplyError::parse(text.as_bytes());
            assert_eq!(error.kind, kind, "{text}");
            assert_eq!(&*error.text, text);
            assert!(!kind.hint().is_empty());
        }
    }

    #[test]
    fn only_refusals_that_executed_nothing_are_repeated() {
        for (text, retry) in [
            ("OOM command not allowed", Retry::SameBytes),
            ("TRYAGAIN Multiple keys request", Retry::SameBytes),
            (
                "NOREPLICAS Not enough good replicas to write.",
                Retry::SameBytes,
            ),
            ("READONLY You can't write", Retry::AfterReconnect),
            ("LOADING Redis is loading", Retry::SameBytes),
            ("MOVED 1 h:1", Retry::AfterReconnect),
            ("EXECABORT Transaction discarded", Retry::Never),
            ("WRONGTYPE Operation", Retry::Never),
            ("NOAUTH Authentication required.", Retry::Never),
            ("ERR anything", Retry::Never),
        ] {
            let error = ReplyError::parse(text.as_bytes());
            assert_eq!(error.kind.retry(), retry, "{text}");
        }
    }

    #[test]
    fn foreign_bytes_are_shown_on_one_line() {
        let error = ReplyError::parse(b"ERR bad \xff\x1b[31m");
        assert_eq!(error.code(), "ERR");
        assert_eq!(error.to_string(), "ERR bad \u{fffd}\\u{1b}[31m");
    }
}
