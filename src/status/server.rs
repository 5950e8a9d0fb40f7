//! The HTTP server: a few addresses to look at, behind a token where there is one.
//!
//! | address          | what it gives                                                     |
//! | ---------------- | ----------------------------------------------------------------- |
//! | `/status`        | what the board shows, as JSON                                     |
//! | `/status/{name}` | one migration, as JSON; 404 when there is none                    |
//! | `/limits`        | the limits of the only migration, as JSON; PUT changes them       |
//! | `/limits/{name}` | those of one migration; 404 when there is none                    |
//! | `/metrics`       | the metrics of the process, for Prometheus                        |
//! | `/healthz`       | `ok` as long as the process answers; never a secret               |

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use subtle::ConstantTimeEq;

use super::{limits, listener::Bounded, recorder};
use crate::{config::Listen, net::Secret, pipeline::Window, telemetry};

/// The content type of the text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is there to be looked at.
pub trait Board: Send + Sync + 'static {
    /// Everything, as a JSON document.
    fn all(&self) -> String;

    /// One migration, as a JSON document; `None` when there is none of this name.
    fn one(&self, name: &str) -> Option<String>;

    /// Where the limits of a migration are; without a name those of the only one.
    fn window(&self, name: Option<&str>) -> Option<Arc<Window>>;
}

/// A server that listens already; requests wait until it serves.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Secret>,
    metrics: Option<PrometheusHandle>,
}

impl Server {
    /// Begins to listen, and to record metrics.
    ///
    /// # Errors
    /// Those of the operating system: the address is in use, or not of this machine.
    pub fn bind(listen: &Listen) -> io::Result<Server> {
        let listener = TcpListener::bind(listen.address)?;
        listener.set_nonblocking(true)?;
        let metrics = recorder::installed();
        telemetry::describe_metrics();
        Ok(Server {
            address: listener.local_addr()?,
            listener,
            token: listen.token.clone(),
            metrics,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves what `board` shows. Returns only if that is not possible, which is logged.
    ///
    /// May be dropped at any await: open requests are then cut.
    pub async fn serve(self, board: Arc<dyn Board>) {
        tracing::info!("status is served on http://{}", self.address);
        let listener = tokio::net::TcpListener::from_std(self.listener);
        let served = match listener {
            Ok(listener) => {
                let router = router(board, self.token, self.metrics);
                axum::serve(Bounded::new(listener), router).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::warn!("status is not served any more: {error}");
        }
    }
}

fn router(
    board: Arc<dyn Board>,
    token: Option<Secret>,
    metrics: Option<PrometheusHandle>,
) -> Router {
    let guarded = Router::new()
        .route("/status", get(all))
        .route("/status/{name}", get(one))
        .route("/limits", get(show_limits).put(change_limits))
        .route("/limits/{name}", get(show_limits).put(change_limits))
        .with_state(board)
        .route("/metrics", get(rendered).with_state(metrics));
    let guarded = match token {
        Some(token) => guarded.layer(middleware::from_fn_with_state(Arc::new(token), admit)),
        None => guarded,
    };
    guarded
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing here"))
}

async fn all(State(board): State<Arc<dyn Board>>) -> Response {
    json(StatusCode::OK, board.all())
}

async fn one(State(board): State<Arc<dyn Board>>, Path(name): Path<String>) -> Response {
    match board.one(&name) {
        Some(status) => json(StatusCode::OK, status),
        None => no_migration(),
    }
}

async fn show_limits(State(board): State<Arc<dyn Board>>, name: Option<Path<String>>) -> Response {
    let name = name.as_ref().map(|Path(name)| name.as_str());
    match board.window(name) {
        Some(window) => json(StatusCode::OK, limits::shown(&window)),
        None => no_migration(),
    }
}

async fn change_limits(
    State(board): State<Arc<dyn Board>>,
    name: Option<Path<String>>,
    body: Bytes,
) -> Response {
    let name = name.as_ref().map(|Path(name)| name.as_str());
    let Some(window) = board.window(name) else {
        return no_migration();
    };
    match limits::changed(&window, &body) {
        Ok(limits) => json(StatusCode::OK, limits),
        Err(why) => problem(StatusCode::BAD_REQUEST, &why),
    }
}

fn no_migration() -> Response {
    problem(StatusCode::NOT_FOUND, "no migration has this name")
}

async fn rendered(State(metrics): State<Option<PrometheusHandle>>) -> Response {
    match metrics {
        Some(metrics) => ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics.render()).into_response(),
        None => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "metrics go to another recorder of this process",
        ),
    }
}

/// Lets a request through that brings the token along.
async fn admit(State(token): State<Arc<Secret>>, request: Request, next: Next) -> Response {
    if brings(request.headers(), &token) {
        return next.run(request).await;
    }
    let mut refusal = problem(
        StatusCode::UNAUTHORIZED,
        "send the header `Authorization: Bearer TOKEN`",
    );
    let challenge = header::HeaderValue::from_static("Bearer");
    refusal
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    refusal
}

/// Compares in a time that says nothing about where the two differ.
fn brings(headers: &HeaderMap, token: &Secret) -> bool {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return false;
    };
    let (scheme, brought) = match value.as_bytes().split_at_checked(7) {
        Some(parts) => parts,
        None => return false,
    };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(brought.ct_eq(token.reveal().as_bytes()))
}

fn problem(status: StatusCode, error: &str) -> Response {
    json(status, serde_json::json!({ "error": error }).to_string())
}

fn json(status: StatusCode, document: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, document + "\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Secret::new("0123456789abcdef");
        for (name, value, opens) in [
            ("the token", Some("Bearer 0123456789abcdef"), true),
            ("in another case", Some("bearer 0123456789abcdef"), true),
            ("nothing", None, false),
            ("empty", Some(""), false),
            ("no scheme", Some("0123456789abcdef"), false),
            ("another scheme", Some("Basic  0123456789abcdef"), false),
            ("another token", Some("Bearer 0123456789abcdeF"), false),
            ("a part of it", Some("Bearer 0123456789abcde"), false),
            ("more than it", Some("Bearer 0123456789abcdef0"), false),
            ("no token", Some("Bearer "), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(brings(&headers, &token), opens, "{name}");
        }
    }
}
