//! How far a sync that follows has come, as its status says.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};

use crate::net::Secret;

use super::Error;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Where the status of a sync is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncStatus {
    authority: String,
    path: String,
    token: Option<Secret>,
}

/// What of a status matters here.
#[derive(Debug, Deserialize)]
struct Status {
    applied_offset: Option<u64>,
}

impl SyncStatus {
    /// Reads `http://host:port`, or `http://host:port/status/name` for one migration of a daemon.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(url: &str, token: Option<Secret>) -> Result<SyncStatus, &'static str> {
        let rest = url
            .strip_prefix("http://")
            .ok_or("it does not begin with http://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/status"),
        };
        let path = if path == "/" { "/status" } else { path };
        if authority.is_empty() || authority.contains('@') {
            return Err("it names no host, or a user");
        }
        let authority = match authority.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            _ => format!("{authority}:80"),
        };
        Ok(SyncStatus {
            authority,
            path: path.to_owned(),
            token,
        })
    }

    /// The offset that the target has confirmed; `None` while the snapshot is written.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn applied_offset(&self) -> Result<Option<u64>, Error> {
        let asked = timeout(ANSWER_MAX, self.ask()).await;
        let body = asked
            .unwrap_or_else(|_| Err(format!("no answer within {ANSWER_MAX:?}")))
            .map_err(|why| self.error(why))?;
        let status: Status = serde_json::from_slice(&body)
            .map_err(|error| self.error(format!("it is no status of one sync: {error}")))?;
        Ok(status.applied_offset)
    }

    async fn ask(&self) -> Result<Bytes, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|e| text(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| text(&e))?;
        let mut request = Request::get(&self.path).header(header::HOST, &self.authority);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| text(&e))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| text(&e))?;
            if response.status() != StatusCode::OK {
                return Err(format!("it answers {}", response.status()));
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok(body.to_bytes())
        };
        tokio::pin!(answer);
        tokio::select! {
            answered = &mut answer => answered,
            // It drives the connection, and ends with it.
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }

    fn error(&self, why: String) -> Error {
        Error::SyncStatus {
            url: format!("http://{}{}", self.authority, self.path),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_perhaps_a_path() {
        for (url, expected) in [
            ("http://127.0.0.1:9121", Ok(("127.0.0.1:9121", "/status"))),
            ("http://127.0.0.1:9121/", Ok(("127.0.0.1:9121", "/status"))),
            (
                "http://[::1]:9121/status/a",
                Ok(("[::1]:9121", "/status/a")),
            ),
            ("http://host", Ok(("host:80", "/status"))),
            ("https://host", Err("it does not begin with http://")),
            ("http://", Err("it names no host, or a user")),
            ("http://u:p@host", Err("it names no host, or a user")),
        ] {
            let found = SyncStatus::of(url, None);
            let found = found.as_ref().map(|it| (&*it.authority, &*it.path));
            assert_eq!(found.map_err(|why| *why), expected, "{url}");
        }
    }
}
