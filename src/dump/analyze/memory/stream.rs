//! What a stream takes: nodes of entries, groups, consumers, pending entries.
//!
//! The nodes are packed again as a server with default limits packs them, which an RDB does not
//! say: `redis 7.2 t_stream.c streamAppendItem`. Groups hang in radix trees: `redis 7.2 rax.c`.

use crate::rdb::{Element, Part};

use super::{
    MemoryModel, OBJECT_BYTES,
    strings::{listpack_element, listpack_int, sds},
};

/// `stream-node-max-entries`.
const NODE_ENTRIES_MAX: u64 = 100;
/// `stream-node-max-bytes`.
const NODE_BYTES_MAX: u64 = 4096;
/// The header of a listpack and its end.
const LISTPACK_BYTES: u64 = 7;

/// `rax`.
const TREE_BYTES: u64 = 24;
/// A node for the run of characters that only one key has: header, characters, pointer.
const TREE_RUN_BYTES: u64 = 24;
/// The node of a key: header and pointer to its value.
const TREE_LEAF_BYTES: u64 = 16;
/// The share of a key in the node where it parts from others: character and pointer.
const TREE_SHARE_BYTES: u64 = 9;
/// `streamCG`, `streamConsumer`, `streamNACK`.
const GROUP_BYTES: u64 = 40;
const CONSUMER_BYTES: u64 = 32;
const PENDING_BYTES: u64 = 24;

/// Sums up one stream.
#[derive(Debug)]
pub(super) struct StreamMemory<'a> {
    model: &'a MemoryModel,
    bytes: u64,
    entries: u64,
    node: Option<Node>,
}

/// The node that entries are added to.
#[derive(Debug)]
struct Node {
    bytes: u64,
    entries: u64,
    /// The fields of the first entry, which others with the same fields refer to.
    fields: Vec<Element>,
}

impl<'a> StreamMemory<'a> {
    pub(super) fn new(model: &'a MemoryModel) -> Self {
        let usable = |bytes| model.allocator.usable(bytes);
        Self {
            model,
            bytes: usable(model.layout.stream_header) + usable(TREE_BYTES),
            entries: 0,
            node: None,
        }
    }

    pub(super) fn part(&mut self, part: &Part) {
        let usable = |bytes| self.model.allocator.usable(bytes);
        match part {
            Part::StreamEntry { fields, .. } => self.entry(fields),
            Part::StreamGroup(group) => {
                self.bytes += usable(GROUP_BYTES)
                    + 2 * usable(TREE_BYTES)
                    + self.tree_key(group.name.len() as u64);
            }
            Part::StreamConsumer(consumer) => {
                let name = consumer.name.len() as u64;
                self.bytes += usable(CONSUMER_BYTES)
                    + usable(sds(name))
                    + usable(TREE_BYTES)
                    + self.tree_key(name);
            }
            // It hangs in the tree of its group and in that of its consumer.
            Part::StreamPending(_) | Part::StreamNacked(_) | Part::StreamUnowned(_) => {
                self.bytes += usable(PENDING_BYTES)
                    + 2 * self.tree_key(OBJECT_BYTES)
                    + self.model.layout.pending_extra;
            }
            Part::StreamIdempotentId {
                producer,
                idempotent_id,
                ..
            } => {
                let len = (producer.len() + idempotent_id.len()) as u64;
                self.bytes += usable(sds(len)) + self.tree_key(len);
            }
            _ => {}
        }
    }

    /// Entries, and bytes behind the object.
    pub(super) fn finish(mut self) -> (u64, u64) {
        if let Some(node) = self.node.take() {
            self.close(node.bytes.max(self.model.layout.stream_node_min));
        }
        (self.entries, self.bytes)
    }

    fn entry(&mut self, fields: &[(Element, Element)]) {
        self.entries += 1;
        let content: u64 = fields
            .iter()
            .map(|(field, value)| (field.len() + value.len()) as u64)
            .sum();
        let full = |node: &Node| {
            node.entries >= NODE_ENTRIES_MAX || node.bytes + content >= NODE_BYTES_MAX
        };
        let mut node = match self.node.take() {
            Some(node) if !full(&node) => node,
            other => {
                if let Some(node) = other {
                    self.close(node.bytes);
                }
                Node::new(fields)
            }
        };
        node.add(fields);
        self.node = Some(node);
    }

    fn close(&mut self, bytes: u64) {
        self.bytes += self.model.allocator.usable(bytes) + self.tree_key(OBJECT_BYTES);
    }

    /// What a key of this length takes in a radix tree of keys like it.
    fn tree_key(&self, len: u64) -> u64 {
        let usable = |bytes| self.model.allocator.usable(bytes);
        // The ids of a stream have half their bytes in common; so have names, it is assumed.
        let run = (TREE_RUN_BYTES - 8 + len / 2).next_multiple_of(8);
        usable(run) + usable(TREE_LEAF_BYTES) + TREE_SHARE_BYTES
    }
}

impl Node {
    /// A node with the master entry: counts, the fields, a zero.
    fn new(fields: &[(Element, Element)]) -> Node {
        let names: u64 = fields
            .iter()
            .map(|(field, _)| listpack_element(field))
            .sum();
        Node {
            bytes: LISTPACK_BYTES + 3 * listpack_int(1) + listpack_int(fields.len() as i64) + names,
            entries: 0,
            fields: fields.iter().map(|(field, _)| field.clone()).collect(),
        }
    }

    fn add(&mut self, fields: &[(Element, Element)]) {
        let same = self.fields.iter().eq(fields.iter().map(|(field, _)| field));
        // Flags, the differences of the id, how many elements the entry has.
        self.bytes += 2 * listpack_int(1) + listpack_int(1000) + listpack_int(1);
        if !same {
            self.bytes += listpack_int(fields.len() as i64);
        }
        for (field, value) in fields {
            if !same {
                self.bytes += listpack_element(field);
            }
            self.bytes += listpack_element(value);
        }
        self.entries += 1;
    }
}
