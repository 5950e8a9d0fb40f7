//! keyferry moves a live Redis or Valkey keyspace to another server.
//!
//! It joins the source as a replica, streams and parses the snapshot, writes it to the target,
//! and follows the replication stream until it is stopped.
//!
//! Read the rooms in the order the data flows through them:
//!
//! 1. [`keyspace`]: the words everybody shares.
//! 2. [`net`]: where a server is and how to reach it.
//! 3. [`rdb`] and [`resp`]: the two formats; bytes in, typed events out, no I/O.
//! 4. [`spool`]: where bytes wait, in memory and on disk.
//! 5. [`sync`]: being a replica of the source.
//! 6. [`sink`]: writing to the target.
//! 7. [`dump`]: RDB files, read, reported on, converted.
//! 8. [`pipeline`]: joins reading and writing, bounds what is in flight, counts what was done.
//! 9. [`verify`]: proves that both sides are equal.
//! 10. [`repair`]: puts right what differs.
//! 11. [`status`]: shows from outside what a migration is doing.
//! 12. [`daemon`]: runs many migrations.
//! 13. [`config`] and [`cli`]: what was asked for, and what is shown.
//!
//! A room imports only from rooms above it in this list; `rdb` and `resp` never meet, nor do
//! `sync` and `sink`. `tests/doors.rs` holds this true.
#![forbid(unsafe_code)]

pub mod keyspace;
pub mod net;

pub mod rdb;
pub mod resp;

pub mod spool;

pub mod sink;
pub mod sync;

pub mod dump;
pub mod pipeline;
pub mod verify;

pub mod repair;

pub mod daemon;
pub mod status;

pub mod telemetry;

pub mod cli;
pub mod config;
