//! Changes requests without breaking their lengths: what looks like DER is changed as a tree and encoded again.

use kakunin::pki::der_encoding::{push_tlv, tag};
use kakunin::pki::der_reading::Reader;
use libfuzzer_sys::fuzzer_mutate;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Deeper is left as it is.
const MAX_DEPTH: usize = 12;
/// By how many octets one value may grow at once.
const GROWTH: usize = 64;
/// Where the form of a length changes, and beyond the bound of a nonce.
const LENGTHS: [usize; 8] = [0, 1, 20, 32, 127, 128, 129, 256];
const TAGS: [u8; 12] = [
    tag::SEQUENCE,
    tag::OCTET_STRING,
    tag::INTEGER,
    tag::OID,
    tag::BOOLEAN,
    0x05,
    tag::constructed(0),
    tag::constructed(1),
    tag::constructed(2),
    tag::primitive(0),
    0x1f,
    0x31,
];

#[derive(Clone)]
struct Node {
    tag: u8,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Octets(Vec<u8>),
    Nodes(Vec<Node>),
}

/// The next number of a sequence that the fuzzer's seed begins.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = xxh3_64_with_seed(&[], self.0);
        (self.0 % end.max(1) as u64) as usize
    }
}

/// A mutation for the fuzzer: changes the first `size` octets of `input`, which after the change are as many as are returned.
pub fn mutate(input: &mut [u8], size: usize, seed: u32) -> usize {
    let mut random = Random(seed.into());
    let most = input.len();
    let changed = match random.below(4) {
        0 => None,
        _ => nodes(&input[..size], 0).map(|mut nodes| {
            for _ in 0..=random.below(3) {
                change(&mut nodes, &mut random);
            }
            encoded(&nodes)
        }),
    };
    match changed {
        Some(octets) if octets.len() <= most => {
            input[..octets.len()].copy_from_slice(&octets);
            octets.len()
        }
        _ => fuzzer_mutate(input, size, most),
    }
}

/// All TLVs of `octets`; `None` where they are anything else.
fn nodes(octets: &[u8], depth: usize) -> Option<Vec<Node>> {
    let (mut reader, mut nodes) = (Reader::new(octets), Vec::new());
    while !reader.is_empty() {
        let (tag, content) = reader.any().ok()?;
        // The values of extensions are DER in an OCTET STRING.
        let may_hold_nodes = (tag & 0x20 != 0 || tag == tag::OCTET_STRING) && depth < MAX_DEPTH && !content.is_empty();
        let inner = if may_hold_nodes { self::nodes(content, depth + 1) } else { None };
        nodes.push(Node { tag, value: inner.map_or_else(|| Value::Octets(content.to_vec()), Value::Nodes) });
    }
    Some(nodes)
}

fn encoded(nodes: &[Node]) -> Vec<u8> {
    let mut out = Vec::new();
    for node in nodes {
        match &node.value {
            Value::Octets(octets) => push_tlv(&mut out, node.tag, octets),
            Value::Nodes(nodes) => push_tlv(&mut out, node.tag, &encoded(nodes)),
        }
    }
    out
}

/// One change to one node, which as a rule is found further down.
fn change(nodes: &mut Vec<Node>, random: &mut Random) {
    let at = random.below(nodes.len());
    let another = random.below(nodes.len());
    let Some(node) = nodes.get_mut(at) else {
        nodes.push(Node { tag: TAGS[random.below(TAGS.len())], value: Value::Octets(Vec::new()) });
        return;
    };
    match (&mut node.value, random.below(8)) {
        (Value::Nodes(inner), 2..) => change(inner, random),
        (Value::Octets(octets), 4..) => change_octets(octets, random),
        (_, 0) => {
            nodes.remove(at);
        }
        (_, 1) => {
            let copy = node.clone();
            nodes.insert(another, copy);
        }
        (_, 2) => nodes.swap(at, another),
        _ => node.tag = TAGS[random.below(TAGS.len())],
    }
}

fn change_octets(octets: &mut Vec<u8>, random: &mut Random) {
    if random.below(4) == 0 {
        octets.resize(LENGTHS[random.below(LENGTHS.len())], 0x55);
        return;
    }
    let size = octets.len();
    octets.resize(size + GROWTH, 0);
    let size = fuzzer_mutate(octets, size, size + GROWTH);
    octets.truncate(size);
}
