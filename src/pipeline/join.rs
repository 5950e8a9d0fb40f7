//! Meeting a source: whether it is another server than the target, and how it is joined.

use crate::{
    config::SourceConfig,
    sink::Admin,
    sync::{Identity, LinkConfig, Notice, Side, SnapshotOptions},
};

use super::{Awaited, Error, Progress, clock::ServerClock};

/// How a source is joined whose snapshot is wanted like this.
pub fn link_config(source: &SourceConfig, snapshot: SnapshotOptions) -> LinkConfig {
    let node = source.node.clone();
    LinkConfig {
        endpoint: node.endpoint,
        identity: Identity {
            user: node.user,
            password: node.password,
            announce_ip: source.announce_ip.clone(),
            announce_port: source.announce_port,
        },
        connect_timeout: source.connect_timeout,
        source_timeout: source.source_timeout,
        retry_for: source.retry_for,
        snapshot,
    }
}

/// Asks a source how many keys it has and what time it is there, as far as it tells.
///
/// # Errors
/// `SameServer`.
pub(super) async fn look_at_source(
    side: &mut Option<Side>,
    target: &mut Admin,
    progress: &Progress,
) -> Result<ServerClock, Error> {
    let Some(side) = side else {
        return Ok(ServerClock::new(None));
    };
    let run_id = side.run_id().await;
    if run_id.is_some() && run_id == target.run_id().await? {
        return Err(Error::SameServer);
    }
    let version = side.version().await;
    progress.learn(|servers| servers.source_version = version);
    progress.keys_total.set(side.keys().await.unwrap_or(0));
    Ok(ServerClock::new(side.time().await))
}

/// Shows what happens while a source is joined.
pub(super) fn shown(progress: &Progress) -> impl FnMut(Notice) + Send + '_ {
    |notice| {
        notice.log("source");
        if let Notice::Waiting { kind, .. } = notice {
            progress.wait_because(Awaited::Source, Some(format!("the source {kind}")));
        }
    }
}
