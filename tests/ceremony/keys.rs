//! Keys that no ceremony certifies: blocked, compromised, or somebody else's.

use std::fs;
use std::path::Path;

use crate::common::{fail, succeed, tool};
use crate::steps::{begin, certify_again, cross, foreign, leaf, root};
use crate::{ceremony, kakunin, shell};

const BRIDGE: &str = "OU=Bridge CA,O=JPKI,C=JP";
const RESPONDER: &str = "br-7.1.2.8-ocsp-responder";

/// Has a key blocked that a command of OpenSSL reads.
fn block(here: &Path, public_keys: &str) {
    shell(here, &format!("{public_keys} -pubout -outform DER | sha256sum | cut -d' ' -f1 >> blocked"));
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap().replace("blocked_keys = \"blocked\"\n", "");
    fs::write(here.join("kakunin.toml"), config.replace("[issuing]\n", "[issuing]\nblocked_keys = \"blocked\"\n")).unwrap();
}

#[test]
fn s3_1_s5_7_a_key_that_is_blocked_is_not_certified() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["bridge"]);
    foreign(here, "known");
    block(here, "openssl pkey -in known.key");
    let refused = fail(&mut ceremony(here, "bridge", &(root("bridge", BRIDGE) + &cross("known"))));
    assert!(refused.contains("step 3: cross-certifies") && refused.contains("blocked"), "{refused}");
    assert!(!here.join("bridge-to-known.pem").exists());
    // One on the token is no better.
    succeed(&mut ceremony(here, "responder", &leaf("bridge", "responder")));
    shell(here, "openssl x509 -in responder.pem -noout -pubkey > responder.pub");
    block(here, "openssl pkey -pubin -in responder.pub");
    let again = certify_again("bridge", RESPONDER, "CN=responder,O=JPKI,C=JP", "responder", "again");
    let refused = fail(&mut ceremony(here, "again", &again));
    assert!(refused.contains("known-weak-key") && !here.join("again.pem").exists(), "{refused}");
}

#[test]
fn s3_1_s5_10_a_key_that_was_compromised_or_is_anothers_is_not_certified() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["bridge"]);
    foreign(here, "thief");
    succeed(&mut ceremony(here, "bridge", &(root("bridge", BRIDGE) + &cross("thief") + &leaf("bridge", "responder"))));
    let again = |subject: &str, file: &str| certify_again("bridge", RESPONDER, subject, "responder", file);
    // Its own subject may have it again, another may not.
    succeed(&mut ceremony(here, "renewal", &again("CN=responder,O=JPKI,C=JP", "renewed")));
    let refused = fail(&mut ceremony(here, "other", &again("CN=somebody else,O=JPKI,C=JP", "other")));
    assert!(refused.contains("shared-key") && refused.contains("another subject") && !here.join("other.pem").exists(), "{refused}");
    // From the compromise of either on, nobody gets a certificate for it.
    for (file, order) in [("responder.pem", again("CN=responder,O=JPKI,C=JP", "late")), ("bridge-to-thief.pem", cross("thief"))] {
        let serial = succeed(tool("openssl").args(["x509", "-noout", "-serial", "-in", file]).current_dir(here));
        let serial = serial.trim().split('=').nth(1).unwrap();
        let revoke = ["revoke", "--config", "kakunin.toml", "--issuer", "bridge", "--reason", "keyCompromise", "--serial", serial];
        succeed(&mut kakunin(here, &revoke));
        let refused = fail(&mut ceremony(here, &format!("late-{}", file.len()), &order.replace("bridge-to-thief.pem", "late-cross.pem")));
        assert!(refused.contains("compromised-key"), "{refused}");
    }
    assert!(!here.join("late.pem").exists() && !here.join("late-cross.pem").exists());
}

#[test]
fn s3_1_s3_3_s5_7_a_name_gets_a_certificate_for_another_key_only_as_a_renewal() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["bridge"]);
    foreign(here, "prefecture");
    succeed(&mut ceremony(here, "first", &(root("bridge", "OU=Bridge CA,O=JPKI,C=JP") + &cross("prefecture"))));
    fs::rename(here.join("bridge-to-prefecture.pem"), here.join("first.pem")).unwrap();
    shell(here, "openssl req -new -newkey rsa:2048 -nodes -keyout next.key -subj '/C=JP/O=EXAMPLE/CN=Prefecture' -out prefecture.csr");
    let said = fail(&mut ceremony(here, "second", &cross("prefecture")));
    assert!(
        said.contains("unique-subject: certificate ") && said.contains("with another key") && said.contains("renewal = true"),
        "{said}"
    );
    assert!(!here.join("bridge-to-prefecture.pem").exists());
    succeed(&mut ceremony(here, "third", &(cross("prefecture") + "renewal = true\n")));
    assert!(here.join("bridge-to-prefecture.pem").exists());
}
