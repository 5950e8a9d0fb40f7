//! An ordinary client connection, for the administrative side of things.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult, aio::MultiplexedConnection,
};

use super::{Endpoint, Node};

/// How long one administrative command may take; FLUSHALL of a large keyspace is the slowest.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);

/// Connects and logs in as an ordinary client, speaking RESP2.
///
/// # Errors
/// Those of the client library; they never hold the password.
pub(crate) async fn client(node: &Node, timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let address = match &node.endpoint {
        Endpoint::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        Endpoint::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    // The library name would need the permission for CLIENT SETINFO.
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    if let Some(user) = &node.user {
        login = login.set_username(user);
    }
    if let Some(password) = &node.password {
        login = login.set_password(password.reveal());
    }
    let info = address.into_connection_info()?.set_redis_settings(login);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(RESPONSE_TIMEOUT));
    Client::open(info)?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}
