//! DER as a tree whose parts can be taken out, changed and put in: to break one rule of an artefact that keeps all others.

use crate::pki::SignatureAlgorithm;
use crate::pki::der_encoding::{tag, tlv};
use crate::pki::der_reading::Reader;
use crate::token::SigningKey;

/// A TLV: with parts where its tag is constructed, with octets otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Leaf(u8, Vec<u8>),
    Tree(u8, Vec<Node>),
}

impl Node {
    /// Reads DER of one TLV.
    pub(super) fn read(der: &[u8]) -> Node {
        Self::read_all(der).pop().expect("a TLV")
    }

    fn read_all(der: &[u8]) -> Vec<Node> {
        let (mut reader, mut nodes) = (Reader::new(der), Vec::new());
        while !reader.is_empty() {
            let (tag, content) = reader.any().expect("DER");
            nodes.push(if tag & 0x20 == 0 { Node::Leaf(tag, content.to_vec()) } else { Node::Tree(tag, Self::read_all(content)) });
        }
        nodes
    }

    pub(super) fn write(&self) -> Vec<u8> {
        match self {
            Node::Leaf(tag, content) => tlv(*tag, content),
            Node::Tree(tag, parts) => tlv(*tag, &parts.iter().flat_map(Node::write).collect::<Vec<u8>>()),
        }
    }

    /// The part at a path of indices.
    pub(super) fn at(&mut self, path: &[usize]) -> &mut Node {
        path.iter().fold(self, |node, index| &mut node.parts()[*index])
    }

    /// Its parts.
    pub(super) fn parts(&mut self) -> &mut Vec<Node> {
        match self {
            Node::Tree(_, parts) => parts,
            Node::Leaf(tag, _) => panic!("{tag:02x} has no parts"),
        }
    }

    /// Its octets.
    pub(super) fn octets(&mut self) -> &mut Vec<u8> {
        match self {
            Node::Leaf(_, octets) => octets,
            Node::Tree(tag, _) => panic!("{tag:02x} has parts"),
        }
    }

    /// Changes its last octet.
    pub(super) fn spoil(&mut self) {
        *self.octets().last_mut().expect("octets") ^= 1;
    }

    /// In a SEQUENCE of extensions: the one with that OID.
    pub(super) fn extension(&mut self, id: &[u8]) -> &mut Node {
        let index = self.extension_index(id).expect("the extension is there");
        &mut self.parts()[index]
    }

    pub(super) fn remove_extension(&mut self, id: &[u8]) {
        let index = self.extension_index(id).expect("the extension is there");
        self.parts().remove(index);
    }

    fn extension_index(&mut self, id: &[u8]) -> Option<usize> {
        self.parts().iter_mut().position(|e| e.at(&[0]).octets() == id)
    }

    /// In an extension: says whether it is critical.
    pub(super) fn set_critical(&mut self, critical: Option<bool>) {
        self.parts().retain(|part| !matches!(part, Node::Leaf(tag::BOOLEAN, _)));
        if let Some(critical) = critical {
            self.parts().insert(1, Node::Leaf(tag::BOOLEAN, vec![if critical { 0xff } else { 0 }]));
        }
    }

    /// In an extension: changes the last octet of its value.
    pub(super) fn spoil_value(&mut self) {
        self.parts().last_mut().expect("a value").spoil();
    }

    /// In a certificate: the SEQUENCE of its extensions.
    pub(super) fn certificate_extensions(&mut self) -> &mut Node {
        self.at(&[0]).parts().last_mut().expect("extensions").at(&[0])
    }

    /// In an extension: replaces its value.
    pub(super) fn set_value(&mut self, der: Vec<u8>) {
        *self.parts().last_mut().expect("a value") = Node::Leaf(tag::OCTET_STRING, der);
    }
}

/// An extension.
pub(super) fn extension(id: &[u8], critical: bool, value: Vec<u8>) -> Node {
    let mut parts = vec![Node::Leaf(tag::OID, id.to_vec())];
    if critical {
        parts.push(Node::Leaf(tag::BOOLEAN, vec![0xff]));
    }
    parts.push(Node::Leaf(tag::OCTET_STRING, value));
    Node::Tree(tag::SEQUENCE, parts)
}

/// A SEQUENCE of a body, an algorithm and a signature, signed anew.
pub(super) fn sign(signed: &mut Node, key: &dyn SigningKey) {
    let signature = key.sign(&signed.at(&[0]).write()).expect("a software key signs");
    *signed.at(&[2]) = Node::Leaf(tag::BIT_STRING, [&[0], &signature[..]].concat());
}

/// The identifier of an algorithm that no test key signs with.
pub(super) fn other_algorithm() -> Node {
    Node::read(SignatureAlgorithm::EcdsaSha384.identifier())
}
