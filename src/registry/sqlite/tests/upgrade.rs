//! Registries that an earlier version of this program has written.

use std::time::Duration;

use super::*;
use crate::issuance::{RootOrder, Validity, self_signed_root};
use crate::pki::certificate::key_identity;
use crate::pki::extension::Contents;
use crate::pki::{Fingerprint, KeyAlgorithm, SignatureAlgorithm};
use crate::registry::work::WorkRegistry;
use crate::registry::{CrlHead, CrlSelection, Signer, SignerId};
use crate::token::SigningKey;
use crate::token::software::SoftwareKey;

const VERSION_1: &str = "
    INSERT INTO issuer (name, certificate, mode, cert_id_hashes, crl_partitions, revoked) VALUES ('ca', x'01', 0, x'02', 1, 2);
    INSERT INTO certificate (issuer, slot_hash, serial, not_after, partition, status, revoked_at, recorded_at)
        VALUES (1, 5, x'05', 1000, 0, 1, 7, 8), (1, 6, x'06', 3000, NULL, 1, 7, 8), (1, 7, x'07', 3000, NULL, 0, NULL, 8);
    INSERT INTO change (issuer, kind, payload) VALUES (1, 1, x''), (1, 3, x'000000000000000500000000'), (1, 5, x''), (1, 5, x'00000000');
    INSERT INTO watermark VALUES ('signing/ca/crl', 3);
    INSERT INTO signer (issuer, key_hash, algorithm, certificate) VALUES (1, x'0101010101010101010101010101010101010101', 6, x'02');
    INSERT INTO crl (issuer, scope, number, this_update, next_update, refresh_at, der)
        VALUES (1, -1, 1, 10, 90, 50, x'aa'), (1, -1, 2, 2000, 2090, 2050, x'bbbb'), (1, 0, 1, 10, 90, 50, x'cc');
    INSERT INTO response_pack (issuer, cert_id_hash, slot, generation, this_update, next_update, blob) VALUES (1, 2, 0, 5, 10, 90, x'dd');
";

#[test]
fn a_registry_of_the_first_version_is_brought_up_to_date_with_everything_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    connection::create_version(&path, 1);
    let earlier = Connection::open(&path).unwrap();
    earlier.execute_batch(VERSION_1).unwrap();
    earlier.close().unwrap();
    let error = SqliteRegistry::open_read_only(&path).unwrap_err();
    assert!(error.to_string().contains("open it once with write access"), "{error}");

    let registry = SqliteRegistry::open(&path).unwrap();
    let issuer = registry.issuers().unwrap().remove(0);
    assert_eq!(issuer.publication.crl_extras, Default::default());
    let heads = registry.pack_heads(issuer.id).unwrap();
    let due: Vec<_> = heads.iter().map(|head| (head.generation, head.this_update.unix(), head.next_update.unix())).collect();
    assert_eq!(due, [(5, 0, 0)], "a pack of an earlier layout is due at once");
    let latest = registry.latest_crls(issuer.id).unwrap();
    assert_eq!(latest.iter().map(|crl| (crl.head.number, crl.der.len())).collect::<Vec<_>>(), [(2, 2), (1, 1)]);
    let CrlHead { this_update, scheduled, reflects, .. } = latest[0].head;
    assert_eq!((this_update.unix(), scheduled, reflects), (2000, false, 0), "what it reflects is not known");
    assert_eq!(registry.next_crl_number(issuer.id, CrlScope::Full).unwrap(), 3);
    assert_eq!(registry.newest_crl_heads(issuer.id, CrlScope::Full, true, 9).unwrap(), []);
    assert_eq!((registry.watermark("signing/ca/crl").unwrap(), registry.changes_after(0, 9).unwrap().len()), (3, 4));

    let (key_hash, algorithm, certificate) = ([1; 20], SignatureAlgorithm::Ed25519, Some(vec![2]));
    let signer = Signer { key_hash, algorithm, certificate, archive_cutoff: None };
    assert_eq!(registry.signers(issuer.id).unwrap(), [(SignerId(1), signer.clone())], "its responses are assembled as they were signed");
    assert_eq!(registry.register_signer(issuer.id, &signer).unwrap(), SignerId(1));

    // As after that, no CRL is called scheduled: nothing leaves because of what an earlier version has issued.
    let all = CrlSelection {
        scope: CrlScope::Full,
        contents: Contents::All,
        not_after_from: Timestamp::default(),
        or_recorded_after: 0,
        changed: None,
    };
    let mut listed = 0;
    assert_eq!(registry.visit_revoked(issuer.id, &all, &mut |_: &CrlEntry| listed += 1).unwrap(), 4);
    assert_eq!(listed, 2);
    drop(registry);
    SqliteRegistry::open_read_only(&path).unwrap();
}

const VERSION_11: &str = "
    INSERT INTO issuer (name, certificate, mode, cert_id_hashes, crl_partitions, revoked) VALUES ('ca', x'01', 0, x'02', 0, 0);
    INSERT INTO certificate (issuer, slot_hash, serial, not_after, status, recorded_at) VALUES (1, 5, x'05', 1000, 0, 8), (1, 6, x'06', 1000, 0, 8);
    INSERT INTO work_log VALUES (1, 'order', 1, 7, '{}', x'00');
";

#[test]
fn s3_1_a_registry_that_names_keys_by_one_of_their_forms_learns_their_identity() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.sqlite");
    connection::create_version(&path, 11);
    let key = SoftwareKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let not_before = Timestamp::from_unix(1_800_000_000).unwrap();
    let validity = Validity { not_before, not_after: not_before.saturating_add(Duration::from_secs(86_400)) };
    let order = RootOrder { subject: "CN=Root", serial: "05".parse().unwrap(), validity, signs_ocsp: false };
    let certificate = self_signed_root(&order, &key).unwrap();
    let earlier = Connection::open(&path).unwrap();
    earlier.execute_batch(VERSION_11).unwrap();
    let insert = "INSERT INTO issued VALUES (?1, 1, ?1, 1, ?2, ?3, x'00', 1000, ?4)";
    let names = [Fingerprint::of(key.public_key()), Fingerprint([0; 32])];
    let rows = [(1, vec![5u8], names[0], certificate), (2, vec![6], names[1], b"no certificate".to_vec())];
    for (id, serial, name, certificate) in rows {
        earlier.execute(insert, rusqlite::params![id, serial, &name.0[..], certificate]).unwrap();
    }
    earlier.execute("UPDATE issued SET subject = zeroblob(32)", []).expect_err("what was issued is never changed");
    earlier.execute_batch("DROP TRIGGER issued_is_not_changed; UPDATE issued SET subject = zeroblob(32)").unwrap();
    earlier.execute_batch("CREATE TRIGGER issued_is_not_changed BEFORE UPDATE ON issued BEGIN SELECT RAISE(ABORT, 'never'); END").unwrap();
    earlier.close().unwrap();

    let registry = SqliteRegistry::open(&path).unwrap();
    let holders = registry.key_holders(&[key_identity(key.public_key()), names[0], names[1]]).unwrap();
    let serials: Vec<_> = holders.iter().map(|holder| holder.map(|h| h.serial.to_string())).collect();
    assert_eq!(serials, [Some("05".to_owned()), None, Some("06".to_owned())], "what cannot be read keeps its name");
    let changed = registry.0.writer().execute("UPDATE issued SET item = 7", []).unwrap_err();
    assert!(changed.to_string().contains("never changed"), "{changed}");
}
