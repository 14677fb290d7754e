//! How the registry's types stand in columns. A stored value that is none of the type's is reported as damage, never guessed.

use std::collections::BTreeSet;

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::pki::extension::Contents;
use crate::pki::{HashAlgorithm, RevocationReason, Serial, SignatureAlgorithm, SlotHash, Timestamp};
use crate::registry::{CrlScope, IssuerId, IssuerMode};

/// Inverted, the top bit of a hash makes the signed order of the column the order of the hashes.
const TOP_BIT: u64 = 1 << 63;
const SCOPE_FULL: i64 = -1;
const SCOPE_ARL: i64 = -2;
const SCOPE_FULL_DELTA: i64 = -3;
/// The delta of partition n is this minus n.
const SCOPE_PARTITION_DELTA: i64 = -(1 << 32);

/// Types that are one integer in a column.
trait Integer: Sized {
    fn encode(&self) -> i64;
    fn decode(value: i64) -> Option<Self>;
}

impl Integer for SlotHash {
    fn encode(&self) -> i64 {
        (self.0 ^ TOP_BIT).cast_signed()
    }
    fn decode(value: i64) -> Option<Self> {
        Some(SlotHash(value.cast_unsigned() ^ TOP_BIT))
    }
}

impl Integer for Timestamp {
    fn encode(&self) -> i64 {
        self.unix().cast_signed()
    }
    fn decode(value: i64) -> Option<Self> {
        Timestamp::from_unix(u64::try_from(value).ok()?)
    }
}

impl Integer for IssuerId {
    fn encode(&self) -> i64 {
        self.0
    }
    fn decode(value: i64) -> Option<Self> {
        Some(IssuerId(value))
    }
}

impl Integer for IssuerMode {
    fn encode(&self) -> i64 {
        match self {
            IssuerMode::Open => 0,
            IssuerMode::RunOff => 1,
            IssuerMode::Closed => 2,
        }
    }
    fn decode(value: i64) -> Option<Self> {
        [IssuerMode::Open, IssuerMode::RunOff, IssuerMode::Closed].into_iter().find(|mode| mode.encode() == value)
    }
}

impl Integer for CrlScope {
    fn encode(&self) -> i64 {
        match self {
            CrlScope::Full => SCOPE_FULL,
            CrlScope::Partition(n) => i64::from(*n),
            CrlScope::Authorities => SCOPE_ARL,
            CrlScope::FullDelta => SCOPE_FULL_DELTA,
            CrlScope::PartitionDelta(n) => SCOPE_PARTITION_DELTA - i64::from(*n),
        }
    }
    fn decode(value: i64) -> Option<Self> {
        match value {
            SCOPE_FULL => Some(CrlScope::Full),
            SCOPE_ARL => Some(CrlScope::Authorities),
            SCOPE_FULL_DELTA => Some(CrlScope::FullDelta),
            0.. => u32::try_from(value).ok().map(CrlScope::Partition),
            _ => u32::try_from(SCOPE_PARTITION_DELTA.checked_sub(value)?).ok().map(CrlScope::PartitionDelta),
        }
    }
}

impl Integer for Contents {
    fn encode(&self) -> i64 {
        match self {
            Contents::All => 0,
            Contents::UserCertificates => 1,
            Contents::CaCertificates => 2,
        }
    }
    fn decode(value: i64) -> Option<Self> {
        [Contents::All, Contents::UserCertificates, Contents::CaCertificates].into_iter().find(|contents| contents.encode() == value)
    }
}

impl Integer for HashAlgorithm {
    fn encode(&self) -> i64 {
        i64::from(self.code())
    }
    fn decode(value: i64) -> Option<Self> {
        HashAlgorithm::from_code(u8::try_from(value).ok()?)
    }
}

impl Integer for SignatureAlgorithm {
    fn encode(&self) -> i64 {
        i64::from(self.code())
    }
    fn decode(value: i64) -> Option<Self> {
        SignatureAlgorithm::from_code(u8::try_from(value).ok()?)
    }
}

impl Integer for RevocationReason {
    fn encode(&self) -> i64 {
        i64::from(self.code())
    }
    fn decode(value: i64) -> Option<Self> {
        RevocationReason::from_code(u8::try_from(value).ok()?)
    }
}

macro_rules! integer_columns {
    ($($type:ty)*) => { $(
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.encode().into())
            }
        }
        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let value = value.as_i64()?;
                Self::decode(value).ok_or(FromSqlError::OutOfRange(value))
            }
        }
    )* };
}

integer_columns! { SlotHash Timestamp IssuerId IssuerMode CrlScope Contents HashAlgorithm SignatureAlgorithm RevocationReason }

impl ToSql for Serial {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_der_content().into())
    }
}

impl FromSql for Serial {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Serial::from_der_content(value.as_blob()?).map_err(FromSqlError::other)
    }
}

/// A sequence number, generation, counter or CRL number: never negative, and refused from 2^63 on.
pub(super) struct Number(pub(super) u64);

impl ToSql for Number {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        i64::try_from(self.0).map(Into::into).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
    }
}

impl FromSql for Number {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let value = value.as_i64()?;
        u64::try_from(value).map(Number).map_err(|_| FromSqlError::OutOfRange(value))
    }
}

/// Reads a [`Number`] column.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|Number(value)| value)
}

/// A set of algorithms as one octet each.
pub(super) struct HashSet(pub(super) BTreeSet<HashAlgorithm>);

impl ToSql for HashSet {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.iter().map(|hash| hash.code()).collect::<Vec<u8>>().into())
    }
}

impl FromSql for HashSet {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let one = |code: &u8| HashAlgorithm::from_code(*code).ok_or(FromSqlError::OutOfRange(i64::from(*code)));
        value.as_blob()?.iter().map(one).collect::<FromSqlResult<_>>().map(HashSet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_column_keeps_the_order_of_hashes(a: u64, b: u64) {
            prop_assert_eq!(SlotHash(a).encode().cmp(&SlotHash(b).encode()), a.cmp(&b));
            prop_assert_eq!(SlotHash::decode(SlotHash(a).encode()), Some(SlotHash(a)));
        }
    }

    #[test]
    fn every_scope_has_a_number_of_its_own() {
        let partitions = [0, 1, u32::MAX].into_iter().flat_map(|n| [CrlScope::Partition(n), CrlScope::PartitionDelta(n)]);
        let scopes: Vec<_> = [CrlScope::Full, CrlScope::Authorities, CrlScope::FullDelta].into_iter().chain(partitions).collect();
        let numbers: BTreeSet<_> = scopes.iter().map(Integer::encode).collect();
        assert_eq!(numbers.len(), scopes.len());
        scopes.iter().for_each(|scope| assert_eq!(CrlScope::decode(scope.encode()), Some(*scope)));
    }

    #[test]
    fn what_no_value_stands_for_is_not_guessed() {
        assert_eq!(Timestamp::decode(-1), None);
        assert_eq!(IssuerMode::decode(3), None);
        assert_eq!(CrlScope::decode(-4), None);
        assert_eq!(RevocationReason::decode(6), None);
    }
}
