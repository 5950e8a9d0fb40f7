//! What a server answers about one value, page by page.
//!
//! A page is as many elements as are likely to take [`PAGE_BYTES`], and never more than
//! [`REPLY_BYTES_MAX`](page_size::REPLY_BYTES_MAX) unless one element alone is longer.
//!
//! Nothing keeps the server from changing a value meanwhile. One that is gone, or of another type,
//! is [`ValueError::Moved`]. In many replies it looks like an empty one: whoever has read all pages
//! asks [`One::still_has`].

pub(super) mod hash;
mod one;
mod page_size;
pub(super) mod replies;
mod scan;
pub(super) mod stream;
pub(super) mod zset;

pub(super) use one::One;
pub use one::ValueError;
pub(super) use page_size::{PAGE_BYTES, PageSize};
pub(super) use scan::Scan;
