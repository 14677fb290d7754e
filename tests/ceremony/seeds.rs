//! The end entities' profiles of the seeds, ordered as batches from one CA: each certificate is signed as its own table has it, SHA-1 and keys of 1024 bits
//! among them, whatever the CA's responses and CRLs are signed with.

use std::fs;
use std::path::Path;

use crate::common::{fail, run, succeed, text, tool};
use crate::steps::{ROOT, begin, root};
use crate::{ceremony, kakunin, shell};

/// A request by OpenSSL for a new RSA key, as a batch of one line.
fn write_request(here: &Path, name: &str, bits: u32, subject: &str) {
    let mut command = tool("openssl");
    command.args(["req", "-new", "-newkey", &format!("rsa:{bits}"), "-nodes", "-keyout", &format!("{name}.rsa.pem"), "-subj", subject]);
    let csr = succeed(command.current_dir(here));
    fs::write(here.join(format!("{name}.jsonl")), format!("{}\n", serde_json::json!({ "csr": csr }))).unwrap();
}

/// Orders a batch of one line by a CA, with whatever else the order says; what is said of it.
fn batch(here: &Path, id: &str, (ca, more): (&str, &str), profile: &str, requests: &str) -> String {
    let order = format!(
        "cat > {id}.toml <<END\nid = \"{id}\"\nkind = \"issue\"\nrequester = \"tanaka\"\ncreated = \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"\n\
         expires = \"$(date -u -d '+8 hours' +%Y-%m-%dT%H:%M:%SZ)\"\nissuer = \"{ca}\"\noutput = \"out-{id}\"\n\
         profile = {{ file = \"profiles/{profile}.toml\", sha256 = \"$(kakunin order digest profiles/{profile}.toml)\" }}\n\
         inputs = {{ lines = \"{requests}.jsonl\", sha256 = \"$(kakunin order digest {requests}.jsonl)\" }}\n{more}END\n"
    );
    let approve =
        |name: &str| format!("kakunin order approve {id}.toml --operators operators.toml --operator {name} --key {name}.key.pem\n");
    shell(here, &format!("{order}{}", ["tanaka", "suzuki"].map(approve).concat()));
    text(&run(&mut kakunin(here, &["order", "run", &format!("{id}.toml"), "--config", "kakunin.toml"])))
}

/// What OpenSSL reads in the one certificate of a batch, when it has verified it.
fn issued(here: &Path, id: &str) -> String {
    let lines = fs::read_to_string(here.join(format!("out-{id}/certificates-000000001.jsonl"))).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    let file = format!("{id}.pem");
    fs::write(here.join(&file), line["certificate"].as_str().unwrap()).unwrap();
    // Level 0: OpenSSL itself takes neither SHA-1 nor 1024 bits otherwise.
    let verify = ["verify", "-auth_level", "0", "-no-CApath", "-no-CAstore", "-CAfile", "ca.pem", &file];
    succeed(tool("openssl").args(verify).current_dir(here));
    succeed(tool("openssl").args(["x509", "-noout", "-text", "-in", &file]).current_dir(here))
}

#[test]
fn s4_1_s3_3_o15_batches_of_the_seeds_profiles_are_signed_as_their_tables_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["ca"]);
    succeed(&mut ceremony(here, "beginning", &root("ca", ROOT)));
    // Its table ended in 2018.
    write_request(here, "late", 2048, "/C=JP/O=Example/CN=TSA late");
    let late = batch(here, "late", ("ca", ""), "secom-7.1.2-4-root3-tsa", "late");
    assert!(late.contains("2018-09-26T14:59:59Z or earlier (issued_until)") && !late.contains("interrupted"), "{late}");
    shell(here, "sed -i /^issued_until/d profiles/secom-7.1.2-4-root3-tsa.toml");
    let (ministry, authority) = ("/C=JP/O=Japanese Government/OU=MPHPT", "/C=JP/O=Example/CN=TSA 1");
    for (profile, bits, subject, signature) in [
        ("mphpt-7.1.2-server", 1024, format!("{ministry}/CN=www.soumu.go.jp"), "sha1WithRSAEncryption"),
        ("mphpt-7.1.3-code-signing", 1024, format!("{ministry}/CN=MPHPT(Soumu-sho)"), "sha1WithRSAEncryption"),
        ("secom-7.1.2-1-root1-tsa-sha1", 2048, authority.replace('1', "sha-1"), "sha1WithRSAEncryption"),
        ("secom-7.1.2-1-root1-tsa", 2048, authority.to_owned(), "sha256WithRSAEncryption"),
        ("secom-7.1.2-2-root2-tsa", 2048, authority.replace('1', "2"), "sha256WithRSAEncryption"),
        ("secom-7.1.2-4-root3-tsa", 3072, authority.replace('1', "3"), "sha384WithRSAEncryption"),
    ] {
        write_request(here, profile, bits, &subject);
        let said = batch(here, &profile.replace('.', "-"), ("ca", ""), profile, profile);
        assert!(said.contains("1 are written, 0 requests were rejected"), "{profile}: {said}");
        let certificate = issued(here, &profile.replace('.', "-"));
        assert!(certificate.contains(&format!("Signature Algorithm: {signature}")), "{profile}: {certificate}");
        assert!(certificate.contains(&format!("Public-Key: ({bits} bit)")), "{profile}: {certificate}");
    }
    // The same key under a profile of this century.
    let said = batch(here, "modern", ("ca", ""), "br-7.1.2.7-tls-server", "mphpt-7.1.2-server");
    assert!(said.contains("0 are written, 1 requests were rejected"), "{said}");
    let rejected = fs::read_to_string(here.join("out-modern/rejected.jsonl")).unwrap();
    assert!(rejected.contains("found rsa-1024, wanted rsa-2048"), "{rejected}");
    succeed(&mut kakunin(here, &["verify", "--config", "kakunin.toml", "--signatures", "all"]));
}

/// The CA's key is compromised: nothing is issued any more, everything is revoked and the last CRL says so for ever, the key is destroyed, and another one certifies
/// the same requests.
#[test]
fn s4_10_s5_10_after_a_compromise_all_is_revoked_the_key_is_another_and_requests_are_certified_again() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    begin(here, &["ca", "ca-2"]);
    let config = fs::read_to_string(here.join("kakunin.toml")).unwrap();
    fs::write(here.join("kakunin.toml"), config.replacen("label = \"ca\" }\n", "label = \"ca\" }\n[issuer.crl]\nlast_crl = true\n", 1))
        .unwrap();
    succeed(&mut ceremony(here, "beginning", &root("ca", ROOT)));
    write_request(here, "server", 2048, "/C=JP/O=Example/CN=TSA 1");
    let said = batch(here, "before", ("ca", ""), "secom-7.1.2-2-root2-tsa", "server");
    assert!(said.contains("1 are written"), "{said}");

    let steps = "[[step]]\ndo = \"run-off\"\nissuer = \"ca\"\n[[step]]\ndo = \"revoke-all\"\nissuer = \"ca\"\nreason = \"cACompromise\"\n\
                 [[step]]\ndo = \"close\"\nissuer = \"ca\"\n";
    succeed(&mut ceremony(here, "compromise", steps));
    let said = batch(here, "late", ("ca", ""), "secom-7.1.2-2-root2-tsa", "server");
    assert!(said.contains("issues nothing any more (S5.2)"), "{said}");
    // The other CA is not there yet.
    fail(&mut kakunin(here, &["sign", "--config", "kakunin.toml", "--once"]));
    let status = succeed(&mut kakunin(here, &["status", "--config", "kakunin.toml"]));
    assert!(
        status.contains("ca (Closed): 0 good, 1 revoked") && status.contains("1 entries, valid until 9999-12-31T23:59:59Z"),
        "{status}"
    );

    let destroy = "[[step]]\ndo = \"destroy-key\"\nkey = { token = \"hsm\", label = \"ca\" }\n";
    succeed(&mut ceremony(here, "new-key", &(destroy.to_owned() + &root("ca-2", &ROOT.replace("Governor", "New Governor")))));
    let said = batch(here, "after", ("ca-2", ""), "secom-7.1.2-2-root2-tsa", "server");
    assert!(said.contains("0 are written, 1 requests were rejected"), "one key, two certificates: only where the order says so: {said}");
    let said = batch(here, "again", ("ca-2", "renewal = true\n"), "secom-7.1.2-2-root2-tsa", "server");
    assert!(said.contains("1 are written"), "{said}");
}
