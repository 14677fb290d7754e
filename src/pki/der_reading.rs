//! Reading DER without copying: definite, minimal lengths of up to four octets, one TLV after the other, no recursion.
//!
//! For the read path and for CRLs of millions of entries, where it costs a twentieth of what derived decoders take; everything else is read by `der`.

/// Not DER, or not the TLV that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDer;

/// What is left to read of some DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of `der`.
    pub fn new(der: &'a [u8]) -> Reader<'a> {
        Reader(der)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails where something is left.
    pub fn finish(self) -> Result<(), NotDer> {
        if self.is_empty() { Ok(()) } else { Err(NotDer) }
    }

    /// Tag and content of the next TLV. Tags have one octet.
    #[inline]
    pub fn any(&mut self) -> Result<(u8, &'a [u8]), NotDer> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>().ok_or(NotDer)?;
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => long_length(usize::from(first & 0x7f), rest)?,
            _ => return Err(NotDer),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(NotDer)?;
        self.0 = rest;
        Ok((tag, content))
    }

    /// Tag and content of the next TLV, and all of it.
    #[inline]
    pub fn any_whole(&mut self) -> Result<(u8, &'a [u8], &'a [u8]), NotDer> {
        let before = self.0;
        let (tag, content) = self.any()?;
        Ok((tag, content, &before[..before.len() - self.0.len()]))
    }

    /// Content of the next TLV, which must have this tag.
    #[inline]
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], NotDer> {
        match self.any()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(NotDer),
        }
    }

    /// A reader of the content of the next TLV, which must have this tag.
    #[inline]
    pub fn enter(&mut self, tag: u8) -> Result<Reader<'a>, NotDer> {
        self.expect(tag).map(Reader)
    }

    /// The next TLV with its tag and length, which must have this tag.
    pub fn raw(&mut self, tag: u8) -> Result<&'a [u8], NotDer> {
        self.whole(tag).map(|(raw, _)| raw)
    }

    /// The same, and a reader of its content.
    pub fn whole(&mut self, tag: u8) -> Result<(&'a [u8], Reader<'a>), NotDer> {
        match self.any_whole()? {
            (found, content, raw) if found == tag => Ok((raw, Reader(content))),
            _ => Err(NotDer),
        }
    }

    /// The tag of the next TLV.
    pub fn next_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Content of the next TLV if it has this tag; otherwise nothing is read.
    #[inline]
    pub fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, NotDer> {
        if self.0.first() == Some(&tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }
}

/// A length of `octets` octets: no leading zero, and no length that a shorter form expresses.
fn long_length(octets: usize, rest: &[u8]) -> Result<(usize, &[u8]), NotDer> {
    let (length, rest) = rest.split_at_checked(octets).ok_or(NotDer)?;
    let value = length.iter().fold(0usize, |value, octet| value << 8 | usize::from(*octet));
    let minimal = length[0] != 0 && value > 0x7f;
    if minimal { Ok((value, rest)) } else { Err(NotDer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::asn1::AnyRef;
    use der::{Decode, Tagged};
    use proptest::prelude::*;

    proptest! {
        /// Where `der` reads a TLV, we read the same; where it refuses one, so do we.
        #[test]
        fn tlvs_are_read_as_der_reads_them(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), tag in 0usize..4, shape in 0usize..6) {
            let length = bytes.len().saturating_sub(2);
            if bytes.len() >= 8 {
                bytes[0] = [0x04, 0x30, 0xa0, 0x02][tag];
                match shape {
                    0 => bytes[1] = length as u8,
                    1 => { bytes[1] = 0x81; bytes[2] = (length.saturating_sub(1)) as u8 }
                    2 => { bytes[1] = 0x82; bytes[2..4].copy_from_slice(&(length.saturating_sub(2) as u16).to_be_bytes()) }
                    3 => { bytes[1] = 0x83; bytes[2..5].copy_from_slice(&(length as u32 - 3).to_be_bytes()[1..]) }
                    _ => {}
                }
            }
            let mut reader = Reader::new(&bytes);
            let ours = reader.any().and_then(|tlv| reader.finish().map(|()| tlv)).ok();
            let theirs = AnyRef::from_der(&bytes).ok().map(|any| (u8::from(any.tag()), any.value()));
            if let Some(theirs) = theirs {
                prop_assert_eq!(ours, Some(theirs));
            } else if let Some((tag, _)) = ours {
                prop_assert!(der::Tag::try_from(tag).is_err(), "only an unknown tag may be all that der minds");
            }
        }
    }
}
