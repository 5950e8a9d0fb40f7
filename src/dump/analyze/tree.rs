//! The tree of prefixes, which never has more than so many nodes.
//!
//! When it is full, the prefixes that take the least are folded into the ones they stand under, until
//! half of the nodes are free. What was folded stays counted there, as `other`: every node says all
//! that its prefix takes, whatever happened below it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::keyspace::Db;

use super::{KeyFacts, Name, Segmenting, Sums, top::number};

/// How the tree grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeOptions {
    /// How keys are cut.
    pub segmenting: Segmenting,
    /// How many segments of a key become nodes.
    pub depth_max: usize,
    /// How many nodes there may be, beside one for each db.
    pub nodes_max: usize,
}

/// Sums by prefix.
#[derive(Debug)]
pub(super) struct Tree {
    options: TreeOptions,
    nodes: Vec<Node>,
    /// Nodes that can be used again.
    free: Vec<usize>,
    dbs: BTreeMap<Db, usize>,
    folded: u64,
    /// The name that is being looked up.
    name: Vec<u8>,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<[u8]>, usize>,
    sums: Sums,
    /// What was folded into it; part of the sums.
    other: Sums,
    other_prefixes: u64,
}

/// A prefix and what stands under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// The last segment of the prefix.
    pub name: Name,
    /// All keys with this prefix.
    #[serde(flatten)]
    pub sums: Sums,
    /// Those of them whose longer prefixes were folded, or are too deep.
    #[serde(skip_serializing_if = "is_nothing")]
    pub other: Sums,
    /// How many prefixes were folded into this one. One that came again counts again.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_prefixes: u64,
    /// The longer prefixes, largest in memory first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Branch>,
}

/// The prefixes of a db.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DbBranch {
    /// The db.
    #[serde(serialize_with = "number")]
    pub db: Db,
    /// The empty prefix.
    #[serde(flatten)]
    pub root: Branch,
}

impl Tree {
    pub(super) fn new(options: TreeOptions) -> Self {
        Self {
            options,
            nodes: Vec::new(),
            free: Vec::new(),
            dbs: BTreeMap::new(),
            folded: 0,
            name: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, facts: &KeyFacts<'_>) {
        let sums = Sums::of(facts);
        let in_use = self.nodes.len() - self.free.len() - self.dbs.len();
        if in_use + self.options.depth_max > self.options.nodes_max {
            self.fold();
        }
        let Tree {
            options,
            nodes,
            free,
            dbs,
            name,
            ..
        } = self;
        let mut at = *dbs.entry(facts.db).or_insert_with(|| unused(nodes, free));
        nodes[at].sums += sums;
        let mut segments = options.segmenting.segments(facts.key);
        for segment in segments.by_ref().take(options.depth_max) {
            segment.write(name);
            at = match nodes[at].children.get(name.as_slice()) {
                Some(child) => *child,
                None => {
                    let child = unused(nodes, free);
                    nodes[at].children.insert(name.as_slice().into(), child);
                    child
                }
            };
            nodes[at].sums += sums;
        }
        if segments.next().is_some() {
            nodes[at].other += sums;
        }
    }

    /// How many prefixes were folded.
    pub(super) fn folded(&self) -> u64 {
        self.folded
    }

    /// The tree of each db, in order.
    pub(super) fn dbs(&self) -> Vec<DbBranch> {
        let root = |(db, at): (&Db, &usize)| DbBranch {
            db: *db,
            root: self.branch(b"", *at),
        };
        self.dbs.iter().map(root).collect()
    }

    /// Frees at least half of the nodes: those without children that take the least, and again.
    fn fold(&mut self) {
        let target = self.options.nodes_max / 2;
        loop {
            let mut leaves: Vec<u64> = self.leaves().collect();
            let in_use = self.nodes.len() - self.free.len() - self.dbs.len();
            if in_use <= target || leaves.is_empty() {
                return;
            }
            // All that take no more than this go, so that which of two equal ones stays does not
            // depend on the order of a map.
            let rank = (in_use - target).min(leaves.len()) - 1;
            let (_, limit, _) = leaves.select_nth_unstable(rank);
            self.fold_leaves(*limit);
        }
    }

    /// What each node takes that has no children and is no db.
    fn leaves(&self) -> impl Iterator<Item = u64> {
        let children = self.nodes.iter().flat_map(|node| node.children.values());
        let leaf = children.map(|child| &self.nodes[*child]);
        leaf.filter(|node| node.children.is_empty())
            .map(|node| node.sums.memory_bytes)
    }

    fn fold_leaves(&mut self, memory_bytes_max: u64) {
        let is_leaf: Vec<bool> = self.nodes.iter().map(|n| n.children.is_empty()).collect();
        for at in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[at].children);
            children.retain(|_, child| {
                let goes =
                    is_leaf[*child] && self.nodes[*child].sums.memory_bytes <= memory_bytes_max;
                if goes {
                    let gone = std::mem::take(&mut self.nodes[*child]);
                    let node = &mut self.nodes[at];
                    node.other += gone.sums;
                    node.other_prefixes += 1 + gone.other_prefixes;
                    self.free.push(*child);
                    self.folded += 1;
                }
                !goes
            });
            self.nodes[at].children = children;
        }
    }

    /// The branch of a node; as deep as the tree, which is bounded by the options.
    fn branch(&self, name: &[u8], at: usize) -> Branch {
        let node = &self.nodes[at];
        let children = node.children.iter();
        let mut children: Vec<_> = children.map(|(name, at)| self.branch(name, *at)).collect();
        children.sort_by(|a, b| {
            let (a_bytes, b_bytes) = (a.sums.memory_bytes, b.sums.memory_bytes);
            b_bytes.cmp(&a_bytes).then_with(|| a.name.cmp(&b.name))
        });
        Branch {
            name: Name::of(name),
            sums: node.sums,
            other: node.other,
            other_prefixes: node.other_prefixes,
            children,
        }
    }
}

impl Branch {
    /// A copy with no more than `max` branches below it, those with the largest share of memory,
    /// serialized bytes or keys; the rest is folded.
    pub(super) fn pruned(&self, max: usize) -> Branch {
        let mut shares = Vec::new();
        self.shares(self.sums, &mut shares);
        let least = match shares.len() > max {
            true if max == 0 => f64::INFINITY,
            // Equal shares all go, as in the tree.
            true => {
                shares.sort_by(|a, b| b.total_cmp(a));
                let (kept, gone) = (shares[max - 1], shares[max]);
                if kept > gone { kept } else { kept.next_up() }
            }
            false => 0.0,
        };
        self.with_shares(self.sums, least)
    }

    fn shares(&self, of: Sums, shares: &mut Vec<f64>) {
        for child in &self.children {
            shares.push(share(child.sums, of));
            child.shares(of, shares);
        }
    }

    fn with_shares(&self, of: Sums, least: f64) -> Branch {
        let mut branch = Branch {
            children: Vec::new(),
            ..self.clone_without_children()
        };
        for child in &self.children {
            if share(child.sums, of) >= least {
                branch.children.push(child.with_shares(of, least));
            } else {
                branch.other += child.sums;
                branch.other_prefixes += child.prefixes();
            }
        }
        branch
    }

    /// How many prefixes it stands for: itself, what is below it, what was folded.
    fn prefixes(&self) -> u64 {
        let below: u64 = self.children.iter().map(Branch::prefixes).sum();
        1 + below + self.other_prefixes
    }

    fn clone_without_children(&self) -> Branch {
        Branch {
            name: self.name.clone(),
            sums: self.sums,
            other: self.other,
            other_prefixes: self.other_prefixes,
            children: Vec::new(),
        }
    }
}

/// A node that nothing is counted in.
fn unused(nodes: &mut Vec<Node>, free: &mut Vec<usize>) -> usize {
    free.pop().unwrap_or_else(|| {
        nodes.push(Node::default());
        nodes.len() - 1
    })
}

/// The largest share that a branch has of any measure.
fn share(part: Sums, of: Sums) -> f64 {
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let memory = share(part.memory_bytes, of.memory_bytes);
    let serialized = share(part.serialized_bytes, of.serialized_bytes);
    memory.max(serialized).max(share(part.keys, of.keys))
}

fn is_nothing(sums: &Sums) -> bool {
    *sums == Sums::default()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(nodes_max: usize, depth_max: usize) -> Tree {
        Tree::new(TreeOptions {
            segmenting: Segmenting {
                separators: b":".to_vec(),
                collapse: true,
            },
            depth_max,
            nodes_max,
        })
    }

    fn add(tree: &mut Tree, db: u32, key: &str, memory_bytes: u64) {
        tree.add(&KeyFacts {
            db: Db(db),
            memory_bytes,
            ..KeyFacts::example(key.as_bytes())
        });
    }

    /// One line for each node: depth, name, keys, memory, and what was folded.
    fn lines(branch: &Branch, depth: usize, lines: &mut Vec<String>) {
        let Sums {
            keys, memory_bytes, ..
        } = branch.sums;
        let (name, other) = (&branch.name, branch.other.keys);
        lines.push(format!(
            "{}{name} {keys} {memory_bytes} +{other}",
            " ".repeat(depth)
        ));
        for child in &branch.children {
            self::lines(child, depth + 1, lines);
        }
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let mut all = Vec::new();
        for db in tree.dbs() {
            lines(&db.root, 0, &mut all);
        }
        all
    }

    #[test]
    fn keys_are_summed_by_prefix() {
        let mut tree = tree(100, 3);
        for (db, key, bytes) in [
            (0, "user:1:name", 10),
            (0, "user:2:name", 20),
            (0, "user:2", 1),
            (0, "zoo", 31),
            (0, "a:b:c:d:e", 2),
            (3, "", 4),
        ] {
            add(&mut tree, db, key, bytes);
        }
        let expected = [
            " 5 64 +0",
            // The same memory: by name.
            " user: 3 31 +0",
            "  *: 2 30 +0",
            "   name 2 30 +0",
            "  * 1 1 +0",
            " zoo 1 31 +0",
            " a: 1 2 +0",
            "  b: 1 2 +0",
            "   c: 1 2 +1",
            " 1 4 +0",
        ];
        assert_eq!(shown(&tree), expected);
    }

    #[test]
    fn a_full_tree_folds_what_takes_least() {
        let mut tree = tree(20, 2);
        for n in 0..1000u64 {
            // Names that are no ids, and one prefix that is large in the end.
            let name: String = n.to_string().bytes().map(|b| (b + 49) as char).collect();
            add(&mut tree, 0, &format!("small:{name}"), 1);
            add(&mut tree, 0, "big:all", 50);
        }
        let root = &tree.dbs()[0].root;
        assert_eq!(root.sums.keys, 2000);
        assert_eq!(root.sums.memory_bytes, 51_000);
        assert!(tree.nodes.len() <= 21, "{} nodes", tree.nodes.len());
        let [big, small] = root.children.as_slice() else {
            panic!("{:?}", shown(&tree));
        };
        assert_eq!((big.sums.keys, big.children[0].sums.keys), (1000, 1000));
        assert_eq!(small.sums.keys, 1000);
        let kept: u64 = small.children.iter().map(|child| child.sums.keys).sum();
        assert_eq!(small.other.keys, 1000 - kept);
        assert_eq!(small.other_prefixes, tree.folded());
    }

    #[test]
    fn a_branch_is_pruned_to_its_largest() {
        let mut tree = tree(100, 3);
        for (key, bytes) in [("a:x", 60), ("a:y", 20), ("b:x", 15), ("c", 3), ("d", 2)] {
            add(&mut tree, 0, key, bytes);
        }
        let root = &tree.dbs()[0].root;
        for (max, expected) in [(100, 8), (7, 8), (3, 3), (0, 1)] {
            let pruned = root.pruned(max);
            let mut all = Vec::new();
            lines(&pruned, 0, &mut all);
            assert_eq!(all.len(), expected, "{max}: {all:?}");
            assert_eq!(pruned.sums, root.sums);
            let inside: u64 = pruned.children.iter().map(|child| child.sums.keys).sum();
            assert_eq!(inside + pruned.other.keys, 5);
        }
    }
}
