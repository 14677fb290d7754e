//! Lines of an `openssl ca` index, as it writes them and otherwise.

use crate::Seed;

/// For the reader.
pub(crate) fn of_every_kind() -> Vec<Seed> {
    let seeds = [
        ("valid", "V\t270101000000Z\t\t1000\tunknown\t/C=JP/CN=a\\\tb\n"),
        ("revoked", "R\t20510101000000Z\t260301120000Z\t0FE0\tunknown\t/CN=b\n"),
        ("reason", "R\t270101000000Z\t260301120000Z,keyCompromise\t01\tunknown\t/CN=c\r\n"),
        (
            "reasons",
            "R\t270101000000Z\t260301120000Z,superseded\t01\tunknown\t/CN=c\nR\t270101000000Z\t260301120000Z,unspecified\t02\tunknown\t/CN=c\nR\t270101000000Z\t260301120000Z,certificateHold\t03\tunknown\t/CN=c\n",
        ),
        ("key-time", "R\t270101000000Z\t260301120000Z,keyTime,20260201000000Z\tFF\tunknown\t/CN=d\n"),
        ("ca-key-time", "R\t270101000000Z\t260301120000Z,CAkeyTime,20260201000000Z\tFFFF\tunknown\t/CN=d\n"),
        ("expired", "E\t200101000000Z\t\t02\tunknown\t/CN=e"),
        ("comments", "# a comment\n\n\r\n#\nV\t270101000000Z\t\t1000\tunknown\t/CN=a"),
        ("long-serial", "V\t99991231235959Z\t\t7F112233445566778899AABBCCDDEEFF00112233\tunknown\t/CN=a\n"),
        (
            "bad-lines",
            "V\t270101000000Z\t\t1000\nX\t270101000000Z\t\t1000\tunknown\t/CN=a\nV\t270199000000Z\t\t1000\tunknown\t/CN=a\nV\t270101000000Z\t260101000000Z\t1000\tunknown\t/CN=a\nR\t270101000000Z\t\t1000\tunknown\t/CN=a\nV\t270101000000Z\t\t-01\tunknown\t/CN=a\n",
        ),
        ("no-text", "V\t270101000000Z\t\t1000\tunknown\t/CN=\u{e9}\u{1f600}\u{0}\n\u{feff}V\n"),
    ];
    seeds.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect()
}
