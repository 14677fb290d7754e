//! A CRL in less than half of its octets, and back, byte for byte: how the registry keeps it.
//!
//! An ordinary entry (a serial, a UTCTime, a reasonCode or none) is kept as its serial, its seconds and its reason. All other octets, whatever they mean, stay
//! as they are: nothing here judges what a CRL says.
//!
//! A CRL is cut into pieces, each a sequence of runs. All numbers are big-endian.
//!
//! | run | octets |
//! |---|---|
//! | literal | `00`, their number (4), the octets |
//! | ordinary entries | `01`, their number (4), the entries |
//! | one of them | reason (place in [`REASONS`], 3 bits) and length of the serial (5 bits), seconds since 1970 (4), content octets of the serial |

use super::Timestamp;
use super::crl::Times;
use super::der_encoding::tag;

/// Octets of a piece, at most.
pub const PIECE: usize = 1 << 20;
/// So many times the octets of its pieces a CRL may have, at most.
pub const MOST_RESTORED: usize = 6;

const LITERAL: u8 = 0;
const ENTRIES: u8 = 1;
/// What stands before a run.
const HEAD: usize = 5;
/// Reason codes by their place in an entry; the first is for an entry without one.
const REASONS: [u8; 8] = [0, 1, 2, 3, 4, 5, 9, 10];
/// The longest serial.
const MAX_SERIAL: usize = 20;
/// The longest ordinary entry here.
const MAX_ENTRY: usize = 5 + MAX_SERIAL;
/// Tag and length of a UTCTime.
const UTC_TIME: [u8; 2] = [tag::UTC_TIME, 13];
/// All of the extensions but the reason itself: the list, reasonCode, not critical.
const REASON_CODE: [u8; 13] = [0x30, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x1d, 0x15, 0x04, 0x03, 0x0a, 0x01];

/// The pieces of a CRL, in their order.
pub fn pieces(der: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = der;
    std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE.min(rest.len() + 2 * HEAD));
        while !rest.is_empty() && piece.len() + HEAD + MAX_ENTRY <= PIECE {
            let head = piece.len();
            piece.extend_from_slice(&[0; HEAD]);
            let entries = push_entries(&mut piece, &mut rest);
            let (kind, number) = if entries > 0 { (ENTRIES, entries) } else { (LITERAL, push_literal(&mut piece, &mut rest)) };
            piece[head] = kind;
            piece[head + 1..head + HEAD].copy_from_slice(&number.to_be_bytes());
        }
        (!piece.is_empty()).then_some(piece)
    })
}

/// As many ordinary entries as follow each other and fit.
fn push_entries(piece: &mut Vec<u8>, rest: &mut &[u8]) -> u32 {
    let mut number = 0;
    while piece.len() + MAX_ENTRY <= PIECE
        && let Some((entry, length)) = Ordinary::read(rest)
    {
        piece.push(entry.reason << 5 | entry.serial.len() as u8);
        piece.extend_from_slice(&entry.seconds.to_be_bytes());
        piece.extend_from_slice(entry.serial);
        *rest = &rest[length..];
        number += 1;
    }
    number
}

/// What stands before the next ordinary entry, as far as it fits; at least one octet.
fn push_literal(piece: &mut Vec<u8>, rest: &mut &[u8]) -> u32 {
    let most = rest.len().min(PIECE - piece.len());
    let length = (1..most).find(|at| Ordinary::read(&rest[*at..]).is_some()).unwrap_or(most);
    let (literal, next) = rest.split_at(length);
    piece.extend_from_slice(literal);
    *rest = next;
    length as u32
}

/// An entry of the ordinary form.
struct Ordinary<'a> {
    /// Place in [`REASONS`].
    reason: u8,
    /// Since 1970.
    seconds: u32,
    serial: &'a [u8],
}

impl<'a> Ordinary<'a> {
    /// The one that `der` begins with, and how many octets it has; `None` where [`Restorer`] would not write the very same.
    #[inline]
    fn read(der: &'a [u8]) -> Option<(Ordinary<'a>, usize)> {
        let (&[tag::SEQUENCE, length, tag::INTEGER, serial], rest) = der.split_first_chunk::<4>()? else { return None };
        let (length, serial) = (usize::from(length), usize::from(serial));
        if serial == 0 || serial > MAX_SERIAL {
            return None;
        }
        let (serial, rest) = rest.split_at_checked(serial)?;
        let (time, rest) = rest.split_first_chunk::<15>()?;
        let (&UTC_TIME, digits) = time.split_first_chunk::<2>()? else { return None };
        let reason = match length.checked_sub(2 + serial.len() + time.len())? {
            0 => 0,
            14 => {
                let (&REASON_CODE, &[code, ..]) = rest.split_first_chunk::<13>()? else { return None };
                REASONS.iter().skip(1).position(|known| *known == code)? as u8 + 1
            }
            _ => return None,
        };
        let seconds = Timestamp::from_utc(digits.try_into().ok()?)?.unix().try_into().ok()?;
        Some((Ordinary { reason, seconds, serial }, 2 + length))
    }
}

/// Not the pieces of a CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a piece of a CRL as it is kept here")]
pub struct NotCompact;

/// Puts a CRL together again.
#[derive(Debug)]
pub struct Restorer {
    der: Vec<u8>,
    octets: usize,
    times: Times,
}

impl Restorer {
    /// For a CRL of so many octets: memory of that size is taken.
    pub fn new(octets: usize) -> Restorer {
        Restorer { der: Vec::with_capacity(octets), octets, times: Times::default() }
    }

    /// Takes the next piece. Fails where it is none, or where the CRL would become longer than was said.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), NotCompact> {
        while let Some((&[kind, a, b, c, d], rest)) = piece.split_first_chunk::<HEAD>() {
            let number = u32::from_be_bytes([a, b, c, d]);
            piece = match kind {
                LITERAL => {
                    let (literal, rest) = rest.split_at_checked(number as usize).ok_or(NotCompact)?;
                    self.require_room(literal.len())?;
                    self.der.extend_from_slice(literal);
                    rest
                }
                ENTRIES => (0..number).try_fold(rest, |rest, _| self.push_entry(rest))?,
                _ => return Err(NotCompact),
            };
        }
        if piece.is_empty() { Ok(()) } else { Err(NotCompact) }
    }

    /// The CRL. Fails where it is shorter than was said.
    pub fn finish(self) -> Result<Vec<u8>, NotCompact> {
        if self.der.len() == self.octets { Ok(self.der) } else { Err(NotCompact) }
    }

    /// Writes the entry that `piece` begins with, and returns what follows it.
    #[inline]
    fn push_entry<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], NotCompact> {
        let (&[head, a, b, c, d], rest) = piece.split_first_chunk::<5>().ok_or(NotCompact)?;
        let (serial, rest) = rest.split_at_checked(usize::from(head & 0x1f)).ok_or(NotCompact)?;
        let at = Timestamp::from_unix(u32::from_be_bytes([a, b, c, d]).into()).filter(|at| *at < Timestamp::GENERALIZED_FROM);
        let (time, time_length) = self.times.encode(at.ok_or(NotCompact)?);
        let reason = REASONS[usize::from(head >> 5)];
        let extensions = if reason == 0 { 0 } else { REASON_CODE.len() + 1 };
        let length = 2 + serial.len() + time_length + extensions;
        self.require_room(2 + length)?;
        self.der.extend_from_slice(&[tag::SEQUENCE, length as u8, tag::INTEGER, serial.len() as u8]);
        self.der.extend_from_slice(serial);
        self.der.extend_from_slice(&time[..time_length]);
        if reason != 0 {
            self.der.extend_from_slice(&REASON_CODE);
            self.der.push(reason);
        }
        Ok(rest)
    }

    fn require_room(&self, octets: usize) -> Result<(), NotCompact> {
        if self.der.len() + octets <= self.octets { Ok(()) } else { Err(NotCompact) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::crl::{CrlEncoder, CrlEntry, CrlHeader};
    use crate::pki::{CertificateInfo, Revocation, RevocationReason, Serial, SignatureAlgorithm};
    use proptest::prelude::*;

    fn crl(entries: impl Iterator<Item = CrlEntry>) -> Vec<u8> {
        let issuer = CertificateInfo::from_der(include_bytes!("../../tests/data/responder.der")).unwrap();
        let at = Timestamp::from_unix(1_800_000_000).unwrap();
        let header = CrlHeader {
            issuer: &issuer.subject,
            authority_key_identifier: &issuer.key_identifier,
            algorithm: SignatureAlgorithm::EcdsaSha256,
            number: 1,
            this_update: at,
            next_update: at,
            base: None,
            distribution_point: None,
            freshest: None,
            expired_since: None,
        };
        let mut encoder = CrlEncoder::new(&header, 0);
        entries.for_each(|entry| encoder.push(&entry));
        encoder.finish().unwrap().with_signature(&[7; 70]).to_vec()
    }

    fn ordinary(count: u64) -> impl Iterator<Item = CrlEntry> {
        (0..count).map(|n| {
            let serial = Serial::from_magnitude(&(u128::from(n) * 0x0123_4567_89ab_cdef_0123_4567 + (1 << 126)).to_be_bytes()).unwrap();
            let at = Timestamp::from_unix(n * 7919 % 2_500_000_000).unwrap();
            let reason = RevocationReason::ALL.get(n as usize % 8).copied();
            CrlEntry { serial, revocation: Revocation { at, reason }, invalidity_date: None }
        })
    }

    fn restored(der_length: usize, pieces: &[Vec<u8>]) -> Result<Vec<u8>, NotCompact> {
        let mut restorer = Restorer::new(der_length);
        pieces.iter().try_for_each(|piece| restorer.push(piece))?;
        restorer.finish()
    }

    #[test]
    fn a_great_crl_takes_less_than_half_and_comes_back_as_it_was() {
        let der = crl(ordinary(120_000));
        let pieces: Vec<_> = pieces(&der).collect();
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() <= PIECE));
        let kept: usize = pieces.iter().map(Vec::len).sum();
        assert!(kept * 2 < der.len() && der.len() <= kept * MOST_RESTORED, "{kept} of {}", der.len());
        assert!(restored(der.len(), &pieces) == Ok(der));
    }

    #[test]
    fn what_is_not_ordinary_stays_as_it_is() {
        let later = |entry: CrlEntry| CrlEntry { invalidity_date: Timestamp::from_unix(1), ..entry };
        let from_2050 = |entry: CrlEntry| {
            let revocation = Revocation { at: Timestamp::GENERALIZED_FROM, ..entry.revocation };
            CrlEntry { revocation, ..entry }
        };
        let der = crl(ordinary(300).enumerate().map(|(n, entry)| match n % 5 {
            1 => later(entry),
            2 => from_2050(entry),
            _ => entry,
        }));
        assert_eq!(restored(der.len(), &pieces(&der).collect::<Vec<_>>()), Ok(der));
        // Longer than a piece, and no CRL at all.
        let octets: Vec<u8> = (0..3 * PIECE / 2).map(|n| (n * 31 % 251) as u8).collect();
        assert!(restored(octets.len(), &pieces(&octets).collect::<Vec<_>>()) == Ok(octets));
        assert_eq!((pieces(&[]).count(), restored(0, &[])), (0, Ok(Vec::new())));
    }

    #[test]
    fn what_was_not_kept_here_is_refused() {
        let der = crl(ordinary(40));
        let piece = pieces(&der).next().unwrap();
        for length in [der.len() - 1, der.len() + 1] {
            assert_eq!(restored(length, std::slice::from_ref(&piece)), Err(NotCompact));
        }
        assert_eq!(restored(der.len(), &[piece[..piece.len() - 1].to_vec()]), Err(NotCompact));
        assert_eq!(restored(der.len(), &[[&piece[..], &[9]].concat()]), Err(NotCompact));
        assert_eq!(restored(9, &[vec![2, 0, 0, 0, 0]]), Err(NotCompact));
    }

    proptest! {
        /// Entries with octets changed anywhere: whatever is still taken for ordinary comes back as it was.
        #[test]
        fn octets_of_any_kind_come_back(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40), count in 0u64..40) {
            let mut der = crl(ordinary(count));
            for (at, octet) in changes {
                let at = at.index(der.len());
                der[at] = octet;
            }
            let kept: Vec<_> = pieces(&der).collect();
            prop_assert!(der.len() <= kept.iter().map(Vec::len).sum::<usize>() * MOST_RESTORED);
            prop_assert_eq!(restored(der.len(), &kept), Ok(der));
        }

        /// Damaged pieces are restored to something or refused, within the length that was said.
        #[test]
        fn damage_never_makes_more_than_was_said(at: prop::sample::Index, octet: u8, count in 0u64..40) {
            let der = crl(ordinary(count));
            let mut piece = pieces(&der).next().unwrap();
            let at = at.index(piece.len());
            piece[at] = octet;
            if let Ok(restored) = restored(der.len(), &[piece]) {
                prop_assert_eq!(restored.len(), der.len());
            }
        }
    }
}
