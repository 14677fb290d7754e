//! A CA with CRLs of every scope that is taken over: what of its certificates and its index is refused, what is put right later, and what stays for life.

use std::fs;
use std::time::Duration;

use crate::common::http::fetch;
use crate::common::ocsp::serial_of;
use crate::common::openssl_ca::write_secret;
use crate::common::{Service, crl_numbers, fail, run, succeed, text, until};
use crate::{BASE_URL, NAME, World};

/// An index of a CA that did not keep the Baseline Requirements: what it says of one certificate would keep all others from being signed.
#[test]
fn c3_a_reason_that_could_not_be_published_is_not_taken_over() {
    let world = World::new("");
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("[[issuer]]", "[[issuer]]\nprogrammes = [\"baseline-requirements\"]")).unwrap();
    let (index, before) = (world.path("other.txt"), succeed(&mut world.command("list", &["--issuer", NAME])));
    let good = "# taken over\nV\t301231000000Z\t\t0A01\tunknown\t/CN=a\nR\t301231000000Z\t260301120000Z,superseded\t0A02\tunknown\t/CN=b\n";
    let import = || world.command("import", &["--issuer", NAME, "--openssl-index", &world.text("other.txt")]);
    fs::write(&index, format!("{good}R\t301231000000Z\t260301120000Z,aACompromise\t0A03\tunknown\t/CN=c\n")).unwrap();
    let said = fail(&mut import());
    let wanted = "line 4: revocation reason of serial 0a03: found aACompromise, wanted one of unspecified, keyCompromise,";
    assert!(said.contains(wanted) && said.contains("(C3)") && said.contains("nothing was imported"), "{said}");
    assert_eq!(succeed(&mut world.command("list", &["--issuer", NAME])), before);
    fs::write(&index, good).unwrap();
    succeed(&mut import());
    succeed(&mut world.command("sign", &["--once"]));
}

#[test]
fn c4_the_base_url_stays_while_certificates_name_their_crls_there() {
    for (crl, stays) in [("partitions = 2\n", true), ("[issuer.crl.arl]\n", true), ("", false)] {
        let world = World::new(crl);
        succeed(&mut world.command("sign", &["--once"]));
        let config = fs::read_to_string(world.config()).unwrap();
        fs::write(world.config(), config.replace(BASE_URL, "http://moved.example")).unwrap();
        let before = crl_numbers(&world.config());
        if stays {
            for command in [&mut world.command("sign", &["--once"]), &mut world.command("serve", &[])] {
                let said = fail(command);
                assert!(
                    said.contains(&format!("base_url: found 'http://moved.example', wanted '{BASE_URL}'")) && said.contains("C4"),
                    "{said}"
                );
            }
            let said = text(&run(&mut world.command("check", &[])));
            assert!(said.contains("problem  issuer 'ca': base_url: found"), "{said}");
            if crl.contains("partitions") {
                let said = fail(&mut world.import_command());
                assert!(said.contains("names the CRL http://pki.example/crl/ca/") && said.contains("nothing was imported"), "{said}");
            }
            assert_eq!(crl_numbers(&world.config()), before, "nothing is published");
        } else {
            succeed(&mut world.command("sign", &["--once"]));
        }
    }
}

#[test]
fn c4_a_base_url_that_was_wrong_is_put_right_by_importing_again() {
    let world = World::new("partitions = 2\n");
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace(BASE_URL, "http://mistyped.example")).unwrap();
    succeed(&mut world.command("sign", &["--once"]));
    fs::write(world.config(), config).unwrap();
    let said = fail(&mut world.command("sign", &["--once"]));
    assert!(said.contains("wanted 'http://mistyped.example'") && said.contains("import the CA's certificates again"), "{said}");
    let said = succeed(&mut world.import_command());
    assert!(said.contains("0 added, 0 newly revoked, 10 unchanged; 10 of 10 have a certificate file, 5 name a CRL partition"), "{said}");
    let service = Service::serve(&mut world.command("serve", &[]));
    let point = || world.authority(&service).crl_text(&fetch(&service.ocsp, "/crl/ca/1.crl"));
    until(Duration::from_secs(10), "the URL that certificates name", || {
        point().contains(&format!("URI:{BASE_URL}/crl/ca/1.crl")).then_some(())
    });
    service.stop();
    succeed(&mut world.command("verify", &[]));
}

/// A CA with a new key goes on with its index (S4.7).
#[test]
fn o9_s4_7_an_import_takes_over_what_its_own_key_has_issued() {
    let world = World::new("partitions = 2\n");
    world.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "new.key.pem"]);
    let subject = "/C=JP/O=Scopes/CN=CA of all scopes";
    let root = ["req", "-x509", "-new", "-config", "openssl.cnf", "-extensions", "root", "-key", "new.key.pem", "-days", "3650", "-subj"];
    world.openssl(&[&root[..], &[subject, "-out", "new.pem"]].concat());
    world.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", "key.pem", "-subj", "/C=JP/CN=new.example", "-out", "leaf.csr"]);
    let sign = ["ca", "-config", "openssl.cnf", "-batch", "-notext", "-extensions", "leaf_0", "-in", "leaf.csr", "-out", "leaf.pem"];
    world.openssl(&[&sign[..], &["-cert", "new.pem", "-keyfile", "new.key.pem"]].concat());
    let said = fail(&mut world.import_command());
    assert!(said.contains("line 11: ") && said.contains("was issued by another key of the CA"), "{said}");
    assert!(!succeed(&mut world.command("list", &["--issuer", NAME])).contains(&serial_of(&world.path("leaf.pem"))));
}

/// Partitions that are configured after the import.
#[test]
fn c4_partitions_that_come_later_list_whom_they_are_named_by() {
    let world = World::new("");
    world.revoke("one-a", "superseded");
    succeed(&mut world.command("sign", &["--once"]));
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config + "partitions = 2\n").unwrap();
    let service = Service::serve(&mut world.command("serve", &[]));
    let authority = world.authority(&service);
    let crl = until(Duration::from_secs(10), "partition 1", || {
        Some(fetch(&service.ocsp, "/crl/ca/1.crl")).filter(|crl| crl.starts_with(&[0x30]))
    });
    assert!(!world.passes(&authority, "one-a", &[crl]));
}

#[test]
fn c4_c9_an_import_that_finds_no_certificate_or_a_date_to_come_is_refused() {
    let world = World::new("partitions = 2\n");
    let before = succeed(&mut world.command("list", &["--issuer", NAME]));
    let index = fs::read_to_string(world.path("index.txt")).unwrap();
    fs::create_dir(world.path("empty")).unwrap();
    let arguments = ["--issuer", NAME, "--openssl-index", &world.text("index.txt"), "--certificates", &world.text("empty")];
    let said = fail(&mut world.command("import", &arguments));
    assert!(said.contains("no file SERIAL.pem for any certificate"), "{said}");
    // A revocation that is still to come.
    let line = index.lines().next().unwrap().replacen("V\t", "R\t", 1).replacen("\t\t", "\t400101000000Z,keyCompromise\t", 1);
    fs::write(world.path("index.txt"), format!("{line}\n")).unwrap();
    let said = fail(&mut world.import_command());
    assert!(
        said.contains("line 1: serial ") && said.contains("found revoked at 2040-01-01T00:00:00Z, wanted a time that has come"),
        "{said}"
    );
    fs::write(world.path("index.txt"), index).unwrap();
    world.import();
    assert_eq!(succeed(&mut world.command("list", &["--issuer", NAME])), before);
}

/// There is no ARL, and the OCSP response could not be published.
#[test]
fn o14_a_ca_revoked_without_a_reason_is_not_taken_over() {
    let world = World::new("");
    let all = fail(&mut world.command("revoke", &["--issuer", NAME, "--all", "--confirm", NAME, "--reason", "unspecified"]));
    assert!(all.contains("certifies CAs") && all.contains("O14"), "{all}");
    world.openssl(&["ca", "-config", "openssl.cnf", "-revoke", "sub-a.pem"]);
    let arguments = ["--issuer", NAME, "--openssl-index", &world.text("index.txt"), "--certificates", &world.text("newcerts")];
    let refused = fail(&mut world.command("import", &arguments));
    assert!(refused.contains("revoked without a reason") && refused.contains("O14"), "{refused}");
    assert!(!succeed(&mut world.command("list", &["--issuer", NAME])).contains("revoked_at"), "nothing was imported");
}

#[test]
fn c4_a_ca_certificate_that_names_a_partition_is_not_taken_over() {
    let world = World::new("partitions = 2\n");
    world.issue("on-a-partition", "sub_ca_0");
    let said = fail(&mut world.import_command());
    assert!(said.contains("line 11: ") && said.contains("is a CA's, and names the CRL http://pki.example/crl/ca/0.crl"), "{said}");
}

#[test]
fn c9_an_import_leaves_what_is_published_as_it_is() {
    let world = World::new("partitions = 2\n[issuer.crl.arl]\n[issuer.crl.delta]\n");
    succeed(&mut world.command("sign", &["--once"]));
    let before = crl_numbers(&world.config());
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("[issuer.crl.arl]\n[issuer.crl.delta]\n", "")).unwrap();
    world.import();
    assert_eq!(crl_numbers(&world.config()), before, "all of them are published");
}

#[test]
fn c3_programmes_that_forbid_a_reason_of_a_revocation_are_told_of() {
    let world = World::new("partitions = 2\n");
    world.revoke("full-a", "aACompromise");
    assert!(!text(&run(&mut world.command("check", &[]))).contains("aACompromise"));
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("[[issuer]]", "[[issuer]]\nprogrammes = [\"baseline-requirements\"]")).unwrap();
    let said = fail(&mut world.command("check", &[]));
    assert!(text(&run(&mut world.command("check", &[]))).contains("programmes: found certificate"), "{said}");
}

#[test]
fn o7_check_tells_of_a_responder_certificate_that_has_not_begun() {
    let world = World::new("");
    world.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ocsp.key"]);
    write_secret(&world.path("ocsp.key.pem"), &fs::read_to_string(world.path("ocsp.key")).unwrap());
    world.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", "ocsp.key", "-subj", "/C=JP/CN=ocsp.example", "-out", "ocsp.csr"]);
    let sign = ["ca", "-config", "openssl.cnf", "-batch", "-notext", "-extensions", "ocsp", "-in", "ocsp.csr", "-out", "ocsp.pem"];
    world.openssl(&[&sign[..], &["-startdate", "20300101000000Z", "-enddate", "20310101000000Z"]].concat());
    let config = fs::read_to_string(world.config()).unwrap();
    let responder = "[issuer.responder]\ncertificate = \"ocsp.pem\"\nkey = { file = \"ocsp.key.pem\" }\n";
    fs::write(world.config(), config + responder).unwrap();
    let said = text(&run(&mut world.command("check", &[])));
    assert!(said.contains("problem  issuer 'ca': responder certificate: begins at 2030-01-01T00:00:00Z only (O7)"), "{said}");
}
