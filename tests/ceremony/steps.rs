//! A change of keys and cross-certification as orders, and the paths that `openssl verify` builds of what they made.

use std::fs;
use std::path::Path;

use crate::common::{fail, run, succeed, text, tool};
use crate::{blocks, ceremony, kakunin, page, shell};

pub(crate) const ROOT: &str = "OU=Governor of Example,O=JPKI,C=JP";

/// A directory with an empty token, operators in force, and a configuration of CAs that are to be, named as their keys and files.
pub(crate) fn begin(here: &Path, issuers: &[&str]) {
    let issuers: String = issuers
        .iter()
        .map(|name| {
            format!("[[issuer]]\nname = \"{name}\"\ncertificate = \"{name}.pem\"\nkey = {{ token = \"hsm\", label = \"{name}\" }}\n")
        })
        .collect();
    let config = format!(
        "base_url = \"http://127.0.0.1:25600\"\n[registry]\nsqlite = \"registry.sqlite\"\n[issuing]\noperators = \"operators.toml\"\n\
         [[token]]\nname = \"hsm\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\nlabel = \"kakunin\"\npin_file = \"hsm.pin\"\n{issuers}"
    );
    fs::write(here.join("kakunin.toml"), config).unwrap();
    let prepared = blocks(&page(), "```sh");
    let profiles = "cp -r $KAKUNIN/config/profiles profiles\nkakunin order operators --config kakunin.toml\n";
    shell(here, &format!("{}{}{profiles}", prepared[0], prepared[1]));
}

/// A file that an order is bound to.
fn bound(file: &str) -> String {
    format!("{{ file = \"{file}\", sha256 = \"$(kakunin order digest {file})\" }}")
}

fn profile(name: &str) -> String {
    bound(&format!("profiles/{name}.toml"))
}

pub(crate) fn generate(label: &str) -> String {
    format!("[[step]]\ndo = \"generate-key\"\nkey = {{ token = \"hsm\", label = \"{label}\" }}\nalgorithm = \"rsa-2048\"\n")
}

fn new(profile_name: &str, subject: &str, label: &str) -> String {
    format!(
        "[step.new]\nprofile = {}\nsubject = \"{subject}\"\nkey = {{ token = \"hsm\", label = \"{label}\" }}\ncertificate = \"{label}.pem\"\n",
        profile(profile_name)
    )
}

/// A key and its self-signed certificate.
pub(crate) fn root(label: &str, subject: &str) -> String {
    format!("{}[[step]]\ndo = \"self-signed\"\n{}", generate(label), new("jpki-7.1-3-self-signed", subject, label))
}

/// A key and a certificate for it by a CA: something at the end of a path.
pub(crate) fn leaf(issuer: &str, label: &str) -> String {
    certify(issuer, "br-7.1.2.8-ocsp-responder", &format!("CN={label},O=JPKI,C=JP"), label)
}

/// A key and a certificate for it by a CA.
pub(crate) fn certify(issuer: &str, profile: &str, subject: &str, label: &str) -> String {
    generate(label) + &certify_again(issuer, profile, subject, label, label)
}

/// A certificate by a CA for a key that is there.
pub(crate) fn certify_again(issuer: &str, profile: &str, subject: &str, label: &str, file: &str) -> String {
    let new = new(profile, subject, label).replace(&format!("{label}.pem"), &format!("{file}.pem"));
    format!("[[step]]\ndo = \"certify\"\nissuer = \"{issuer}\"\n{new}")
}

/// The links of a change of keys. `bound` are those of the two certificates that no step before makes.
pub(crate) fn links(bound: &[&str]) -> String {
    let ca = |name: &str| {
        let hash = if bound.contains(&name) { format!("sha256 = \"$(kakunin order digest {name}.pem)\"\n") } else { String::new() };
        format!("[step.{name}]\ncertificate = \"{name}.pem\"\n{hash}key = {{ token = \"hsm\", label = \"{name}\" }}\n")
    };
    let link = |name: &str, file: &str| {
        format!("[step.{name}]\nprofile = {}\ncertificate = \"{file}.pem\"\n", profile(&format!("jpki-7.1-4-{file}")))
    };
    let links = link("old_with_new", "old-with-new") + &link("new_with_old", "new-with-old");
    format!("[[step]]\ndo = \"link-certificates\"\n{}{}{links}", ca("old"), ca("new"))
}

/// Whether a party that trusts one root only takes a certificate, with the others at hand.
#[track_caller]
fn assert_path(here: &Path, trusted: &str, others: &[&str], leaf: &str, wanted: bool) {
    let mut command = tool("openssl");
    command.args(["verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", trusted]).current_dir(here);
    command.args(others.iter().flat_map(|other| ["-untrusted", other]));
    let output = run(command.arg(leaf));
    assert_eq!(output.status.success(), wanted, "{trusted} {others:?} {leaf}: {}", text(&output));
}

#[test]
fn s5_7_s4_7_a_rollover_is_one_order_and_its_links_lead_from_either_key_to_either_root() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old", "new"]);
    succeed(&mut ceremony(here, "beginning", &(root("old", ROOT) + &leaf("old", "old-leaf"))));
    let said = succeed(&mut ceremony(here, "rollover", &(root("new", ROOT) + &links(&["old"]) + &leaf("new", "new-leaf"))));
    assert!(said.contains("5 steps are done"), "{said}");
    // Who trusts only the new root takes what the old key signed, over OldWithNew, and the other way round over NewWithOld.
    assert_path(here, "new.pem", &["old-with-new.pem"], "old-leaf.pem", true);
    assert_path(here, "old.pem", &["new-with-old.pem"], "new-leaf.pem", true);
    assert_path(here, "new.pem", &["old-with-new.pem", "new-with-old.pem"], "old-leaf.pem", true);
    assert_path(here, "old.pem", &["old-with-new.pem", "new-with-old.pem"], "new-leaf.pem", true);
    assert_path(here, "new.pem", &[], "old-leaf.pem", false);
    assert_path(here, "old.pem", &[], "new-leaf.pem", false);
    assert_path(here, "new.pem", &["new-with-old.pem"], "old-leaf.pem", false);
    assert_path(here, "old.pem", &["old-with-new.pem"], "new-leaf.pem", false);
    // A link is a certificate of the key that signed it: its CA knows it, and can revoke it.
    for (issuer, link) in [("new", "old-with-new.pem"), ("old", "new-with-old.pem")] {
        let serial = succeed(tool("openssl").args(["x509", "-noout", "-serial", "-in", link]).current_dir(here));
        let serial = serial.trim().split('=').nth(1).unwrap().to_lowercase();
        let listed = succeed(&mut kakunin(here, &["list", "--config", "kakunin.toml", "--issuer", issuer]));
        assert!(listed.contains(&serial), "{issuer} {serial}");
    }
}

#[test]
fn s4_8_s4_7_links_are_of_the_certificates_that_were_approved_and_of_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old", "new"]);
    succeed(&mut ceremony(here, "beginning", &root("old", ROOT)));
    // Whoever can write the files exchanges one after the other, when the order is approved.
    let (old, run) = (fs::read(here.join("old.pem")).unwrap(), ["order", "run", "rollover.toml", "--config", "kakunin.toml"]);
    let mut order = ceremony(here, "rollover", &(root("new", ROOT) + &links(&["old"])));
    foreign(here, "thief");
    fs::copy(here.join("thief.pem"), here.join("old.pem")).unwrap();
    assert!(
        fail(&mut kakunin(here, &["order", "check", "rollover.toml", "--config", "kakunin.toml"])).contains("it is not what was approved")
    );
    let said = fail(&mut order);
    assert!(said.contains("old.pem: found the hash") && said.contains("it is not what was approved"), "{said}");
    fs::write(here.join("old.pem"), &old).unwrap();
    let new = fs::read(here.join("new.pem")).unwrap();
    fs::copy(here.join("thief.pem"), here.join("new.pem")).unwrap();
    let said = fail(&mut kakunin(here, &run));
    assert!(
        said.contains("new.pem: found a certificate with the hash") && said.contains("an earlier step of the order has made"),
        "{said}"
    );
    fs::write(here.join("new.pem"), new).unwrap();
    succeed(&mut kakunin(here, &run));
}

#[test]
fn c4_links_name_the_arl_of_the_ca_that_signed_them() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old", "new"]);
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap();
    let (first, last) = config.rsplit_once("[[issuer]]").unwrap();
    fs::write(here.join("kakunin.toml"), format!("{first}[issuer.crl.arl]\n[[issuer]]{last}")).unwrap();
    succeed(&mut ceremony(here, "rollover", &(root("old", ROOT) + &root("new", ROOT) + &links(&[]))));
    // The old key has an ARL, the new one none.
    for (link, wanted) in [("new-with-old.pem", "/crl/old/arl.crl"), ("old-with-new.pem", "/crl/new.crl")] {
        let said = succeed(tool("openssl").args(["x509", "-noout", "-ext", "crlDistributionPoints", "-in", link]).current_dir(here));
        assert!(said.contains(&format!("URI:http://127.0.0.1:25600{wanted}\n")), "{link}: {said}");
    }
}

#[test]
fn s3_3_profiles_that_fix_a_url_are_ordered_like_others_and_what_cannot_be_issued_is_not_begun() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["old"]);
    let tsa = |label: &str| {
        let new = new("secom-7.1.2-2-root2-tsa", "CN=Example TSA,O=Example,C=JP", label);
        format!("{}[[step]]\ndo = \"certify\"\nissuer = \"old\"\n{new}", generate(label))
    };
    succeed(&mut ceremony(here, "tsa", &(root("old", ROOT) + &tsa("tsa"))));
    let said = succeed(tool("openssl").args(["x509", "-noout", "-text", "-in", "tsa.pem"]).current_dir(here));
    for wanted in ["URI:http://repository.secomtrust.net/SC-Root2/SCRoot2CRL.crl\n", "OCSP - URI:http://scrootca2.ocsp.secomtrust.net\n"] {
        assert!(said.contains(wanted) && !said.contains("127.0.0.1"), "{said}");
    }
    // A usage that the profile does not leave open, and signatures that the CA's key does not make: said before the first step.
    let certify = |id: &str, more: &str, from: &str, to: &str| fail(&mut ceremony(here, id, &(tsa(id) + more).replace(from, to)));
    let usage = certify("usage", "key_usage = [\"keyCertSign\"]\n", "", "");
    let tsa_profile = fs::read_to_string(here.join("profiles/secom-7.1.2-2-root2-tsa.toml")).unwrap();
    fs::write(here.join("profiles/secom-ecdsa.toml"), tsa_profile.replace("rsa-sha256", "ecdsa-sha384")).unwrap();
    let signature = certify("signature", "", "7.1.2-2-root2-tsa", "ecdsa");
    let ended = certify("ended", "", "7.1.2-2-root2-tsa", "7.1.2-4-root3-tsa");
    for (said, wanted) in [(usage, "key usage asked for: found KeyCertSign"), (signature, "wanted ecdsa-sha384"), (ended, "(issued_until)")]
    {
        assert!(said.contains("refused:") && said.contains("issuer 'old', profile ") && said.contains(wanted), "{said}");
    }
    let log = succeed(&mut kakunin(here, &["order", "log", "--config", "kakunin.toml"]));
    assert_eq!(log.matches(" begun").count(), 1, "{log}");
}

/// A foreign CA: a root, a request for its key, and a leaf, all by OpenSSL.
pub(crate) fn foreign(here: &Path, name: &str) {
    let script = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -days 3650 -subj '/C=JP/O=Example/CN={name}' \
           -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign\n\
         openssl req -new -key {name}.key -subj '/C=JP/O=Example/CN={name}' -out {name}.csr\n\
         openssl req -newkey rsa:2048 -nodes -keyout {name}-leaf.key -subj '/C=JP/CN={name} leaf' -out {name}-leaf.csr\n\
         printf 'authorityKeyIdentifier=keyid\\nsubjectKeyIdentifier=hash\\n' > leaf.ext\n\
         openssl x509 -req -in {name}-leaf.csr -CA {name}.pem -CAkey {name}.key -days 365 -extfile leaf.ext -out {name}-leaf.pem\n"
    );
    shell(here, &script);
}

/// The foreign CA's certificate for the bridge's key.
fn certify_bridge(here: &Path, name: &str) {
    let script = format!(
        "openssl x509 -in bridge.pem -noout -pubkey > bridge.pub\n\
         printf 'authorityKeyIdentifier=keyid\\nsubjectKeyIdentifier=hash\\nbasicConstraints=critical,CA:TRUE\\nkeyUsage=critical,keyCertSign,cRLSign\\n' > ca.ext\n\
         openssl x509 -new -force_pubkey bridge.pub -subj '/C=JP/O=JPKI/OU=Bridge CA' -CA {name}.pem -CAkey {name}.key -days 1800 \
           -extfile ca.ext -out {name}-to-bridge.pem\n"
    );
    shell(here, &script);
}

pub(crate) fn cross(name: &str) -> String {
    format!(
        "[[step]]\ndo = \"cross-certify\"\nissuer = \"bridge\"\nprofile = {}\nrequest = {}\ncertificate = \"bridge-to-{name}.pem\"\n",
        profile("jpki-7.1-2-cross"),
        bound(&format!("{name}.csr"))
    )
}

#[test]
fn s5_7_cross_certificates_from_requests_lead_over_the_bridge_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["bridge"]);
    ["prefecture", "government"].iter().for_each(|name| foreign(here, name));
    let steps = root("bridge", "OU=Bridge CA,O=JPKI,C=JP") + &cross("prefecture") + &cross("government");
    succeed(&mut ceremony(here, "bridge", &steps));
    ["prefecture", "government"].iter().for_each(|name| certify_bridge(here, name));
    for (trusted, other) in [("prefecture", "government"), ("government", "prefecture")] {
        let [root, leaf] = [format!("{trusted}.pem"), format!("{other}-leaf.pem")];
        let [to_bridge, onward] = [format!("{trusted}-to-bridge.pem"), format!("bridge-to-{other}.pem")];
        assert_path(here, &root, &[&to_bridge, &onward], &leaf, true);
        assert_path(here, &root, &[&to_bridge], &leaf, false);
        assert_path(here, &root, &[&onward], &leaf, false);
        assert_path(here, "bridge.pem", &[&onward], &leaf, true);
    }
}

/// A foreign CA's request, as OpenSSL makes it with more in it.
fn request_again(here: &Path, name: &str, more: &str) {
    shell(here, &format!("openssl req -new -key {name}.key -subj '/C=JP/O=Example/CN={name}' {more} -out {name}.csr"));
}

#[test]
fn s5_7_a_cross_certificate_has_the_identifier_that_the_foreign_ca_uses_and_the_path_length_that_was_ordered() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["bridge"]);
    foreign(here, "prefecture");
    request_again(here, "prefecture", "-addext subjectKeyIdentifier=0102030405060708090A");
    let steps = root("bridge", "OU=Bridge CA,O=JPKI,C=JP") + &cross("prefecture") + "path_length = 1\n";
    succeed(&mut ceremony(here, "bridge", &steps));
    let said = succeed(tool("openssl").args(["x509", "-noout", "-text", "-in", "bridge-to-prefecture.pem"]).current_dir(here));
    assert!(said.contains("01:02:03:04:05:06:07:08:09:0A") && said.contains("CA:TRUE, pathlen:1"), "{said}");
}

#[test]
fn s3_1_s5_7_a_foreign_ca_without_its_key_is_not_certified() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["bridge"]);
    foreign(here, "thief");
    succeed(&mut ceremony(here, "bridge", &root("bridge", "OU=Bridge CA,O=JPKI,C=JP")));
    // The request with another's signature in it: an octet is enough.
    shell(here, "openssl req -in thief.csr -outform DER -out thief.der");
    let mut request = fs::read(here.join("thief.der")).unwrap();
    *request.last_mut().unwrap() ^= 1;
    fs::write(here.join("thief.der"), request).unwrap();
    shell(here, "openssl req -inform DER -in thief.der -out thief.csr");
    let refused = fail(&mut ceremony(here, "theft", &cross("thief")));
    assert!(refused.contains("step 1: cross-certifies") && refused.contains("signature"), "{refused}");
    assert!(!here.join("bridge-to-thief.pem").exists());
}
