//! Object identifiers as people write them. const-oid reads `2.5.4.4294967299` as `2.5.4.3` and writes 128 as 0: what is read here is what was written, or nothing.

use const_oid::ObjectIdentifier;

/// What is wanted, for messages.
pub(super) const WANTED: &str = "an object identifier such as 2.23.140.1.2.1, its numbers below 2^28 and the second of them below 40";

/// The object identifier in dotted form; `None` for one that is written in another way, or that const-oid cannot hold: of more than 39 octets or less than
/// three, or with a number from 2^28 on that it does not read again.
pub(super) fn parse(text: &str) -> Option<ObjectIdentifier> {
    let mut arcs = text.split('.').map(|arc| arc.parse::<u32>().ok());
    let (first, second) = (arcs.next()??, arcs.next()??);
    if first > 2 || second > 39 {
        return None;
    }
    let mut octets = vec![(40 * first + second) as u8];
    for arc in arcs {
        push(&mut octets, arc?);
    }
    ObjectIdentifier::from_bytes(&octets).ok().filter(|oid| oid.to_string() == text)
}

/// Seven bits an octet, the highest first; all but the last octet are marked (X.690 8.19.2).
fn push(octets: &mut Vec<u8>, arc: u32) {
    octets.extend([28, 21, 14, 7].into_iter().filter(|shift| arc >> shift != 0).map(|shift| (arc >> shift) as u8 | 0x80));
    octets.push(arc as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_identifier_is_what_is_written_or_none() {
        for text in [
            "2.5.4.3",
            "1.3.6.1.4.1.16400.1",
            "1.2.128.1",
            "0.0.0.0",
            "2.39.2097152",
            "1.2.268435455.0",
            &format!("1.2{}", ".3".repeat(38)),
        ] {
            assert_eq!(parse(text).map(|oid| oid.to_string()).as_deref(), Some(text));
        }
        assert_eq!(parse("1.3.6.1.5.5.7.3.9"), Some(const_oid::db::rfc5280::ID_KP_OCSP_SIGNING));
        for text in [
            "2.5.4.4294967299",
            "1.2.4294967298.1",
            "1.3.6.1.5.5.7.3.4294967305",
            "99999999999999999999.1",
            "1.2.4294967295",
            "2.5.4.03",
            "2.5.4.+3",
            "2.5.4.",
            ".2.5.4.3",
            "2.5..3",
            "2.5.4.3 ",
            "2.5.4.x",
            "2.5",
            "2",
            "",
            "3.1.1.1",
            "1.40.1.1",
            "2.999.1.1",
            &format!("1.2{}", ".3".repeat(39)),
            &"0".repeat(100_000),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_below_2_28_are_read_and_written_alike(first in 0u32..3, second in 0u32..40, rest in proptest::collection::vec(0u32..1 << 28, 2..9)) {
            let text = [vec![first, second], rest].concat().iter().map(u32::to_string).collect::<Vec<_>>().join(".");
            prop_assert_eq!(parse(&text).map(|oid| oid.to_string()), Some(text));
        }

        #[test]
        fn whatever_is_written_is_read_or_refused(text in "[0-9.]{0,40}") {
            if let Some(oid) = parse(&text) {
                prop_assert_eq!(oid.to_string(), text);
            }
        }
    }
}
