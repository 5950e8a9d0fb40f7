//! What it means that the source refuses something, or says what it cannot say.

use crate::{
    keyspace::Escaped,
    resp::{ReplyError, ReplyErrorKind},
    sync::ErrorKind,
};

/// An answer that the protocol does not have.
pub(in crate::sync) fn unexpected(awaited: &'static str, found: &[u8]) -> ErrorKind {
    ErrorKind::Unexpected {
        awaited,
        found: Escaped(found).to_string(),
    }
}

/// What it means that the source refused `command` (in lower case).
pub(in crate::sync) fn refusal(command: &'static str, text: &[u8]) -> ErrorKind {
    let error = ReplyError::parse(text);
    let reply = error.to_string();
    match error.kind {
        ReplyErrorKind::NoAuth => ErrorKind::NoAuth,
        ReplyErrorKind::WrongPass => ErrorKind::WrongPassword { reply },
        ReplyErrorKind::NoPerm => ErrorKind::NoPermission { command, reply },
        ReplyErrorKind::Loading => ErrorKind::Loading,
        ReplyErrorKind::NoMasterLink | ReplyErrorKind::MasterDown => {
            ErrorKind::NoMasterLink { reply }
        }
        ReplyErrorKind::Busy => ErrorKind::Busy,
        ReplyErrorKind::MaxClients => ErrorKind::MaxClients,
        ReplyErrorKind::Denied => ErrorKind::ProtectedMode,
        ReplyErrorKind::UnknownCommand => ErrorKind::NoReplication { reply },
        ReplyErrorKind::Other if reply.contains("BGSAVE failed") => {
            ErrorKind::SnapshotRefused { reply }
        }
        ReplyErrorKind::Moved { .. }
        | ReplyErrorKind::Ask { .. }
        | ReplyErrorKind::TryAgain
        | ReplyErrorKind::CrossSlot
        | ReplyErrorKind::ClusterDown
        | ReplyErrorKind::ReadOnly
        | ReplyErrorKind::Oom
        | ReplyErrorKind::Misconf
        | ReplyErrorKind::NoReplicas
        | ReplyErrorKind::NoProto
        | ReplyErrorKind::BusyKey
        | ReplyErrorKind::BusyGroup
        | ReplyErrorKind::ExecAbort
        | ReplyErrorKind::NoScript
        | ReplyErrorKind::WrongType
        | ReplyErrorKind::BadPayload
        | ReplyErrorKind::Other => ErrorKind::Refused { command, reply },
    }
}

/// Lets through what does not keep PSYNC from working.
pub(super) fn check_replconf_reply(line: &[u8]) -> Result<(), ErrorKind> {
    match replconf_refusal(line)? {
        None | Some(ErrorKind::Refused { .. } | ErrorKind::NoReplication { .. }) => Ok(()),
        Some(kind) => Err(kind),
    }
}

/// Why a REPLCONF that has to be taken was not.
pub(super) fn replconf_refusal(line: &[u8]) -> Result<Option<ErrorKind>, ErrorKind> {
    if line.starts_with(b"+") {
        return Ok(None);
    }
    match line.strip_prefix(b"-") {
        Some(text) => Ok(Some(refusal("replconf", text))),
        None => Err(unexpected("REPLCONF", line)),
    }
}
