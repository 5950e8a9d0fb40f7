//! Where a server is, who we are there, and how a connection is opened.
//!
//! For the edges only; nothing here knows what is said over the connection.

mod backoff;
mod client;
mod dial;
mod endpoint;
mod secret;

pub use backoff::Backoff;
pub(crate) use client::client;
pub use dial::{Connection, dial};
pub use endpoint::{Endpoint, Node, NodeUrlError};
pub use secret::Secret;
