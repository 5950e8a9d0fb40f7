//! Requests to the HTTP server of a running keyferry.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use super::keyferry::Keyferry;

const SOON: Duration = Duration::from_secs(60);

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// The HTTP server of one process.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    address: String,
    token: Option<String>,
}

impl Site {
    /// Waits until the process says where it serves.
    pub(crate) fn of(keyferry: &mut Keyferry) -> Site {
        let said = "status is served on http://";
        keyferry.wait_for_stderr(said, SOON);
        let stderr = keyferry.stderr();
        let (_, rest) = stderr.split_once(said).unwrap();
        let address = rest.split_whitespace().next().unwrap();
        Site {
            address: address.replace("0.0.0.0", "127.0.0.1"),
            token: None,
        }
    }

    /// Its address, as a browser takes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn with_token(&self, token: &str) -> Site {
        Site {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    pub(crate) fn put(&self, path: &str, body: &str) -> Answer {
        self.ask("PUT", path, body)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let token = self.token.as_ref();
        let login = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: keyferry\r\nConnection: close\r\n\
             Content-Length: {}\r\n{login}\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        Answer {
            status: status.parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The document at this path, which must be there.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// The value of a line of the metrics, such as `keyferry_ready` with its labels.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let metrics = self.get("/metrics").body;
        let found = metrics.lines().find_map(|l| l.strip_prefix(line));
        found.map(|value| value.trim().parse().unwrap())
    }
}
