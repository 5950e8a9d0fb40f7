//! Being a replica of the source.
