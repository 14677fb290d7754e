//! The end entities' profiles of the seeds, ordered as batches from one CA: each certificate is signed as its own table has it, SHA-1 and keys of 1024 bits
//! among them, whatever the CA's responses and CRLs are signed with.

use std::fs;
use std::path::Path;

use crate::common::{run, succeed, text, tool};
use crate::steps::{ROOT, begin, root};
use crate::{ceremony, kakunin, shell};

/// A request by OpenSSL for a new RSA key, as a batch of one line.
fn write_request(here: &Path, name: &str, bits: u32, subject: &str) {
    let mut command = tool("openssl");
    command.args(["req", "-new", "-newkey", &format!("rsa:{bits}"), "-nodes", "-keyout", &format!("{name}.rsa.pem"), "-subj", subject]);
    let csr = succeed(command.current_dir(here));
    fs::write(here.join(format!("{name}.jsonl")), format!("{}\n", serde_json::json!({ "csr": csr }))).unwrap();
}

/// Orders a batch of one line; what is said of it.
fn batch(here: &Path, id: &str, profile: &str, requests: &str) -> String {
    let order = format!(
        "cat > {id}.toml <<END\nid = \"{id}\"\nkind = \"issue\"\nrequester = \"tanaka\"\ncreated = \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"\n\
         expires = \"$(date -u -d '+8 hours' +%Y-%m-%dT%H:%M:%SZ)\"\nissuer = \"ca\"\noutput = \"out-{id}\"\n\
         profile = {{ file = \"profiles/{profile}.toml\", sha256 = \"$(kakunin order digest profiles/{profile}.toml)\" }}\n\
         inputs = {{ lines = \"{requests}.jsonl\", sha256 = \"$(kakunin order digest {requests}.jsonl)\" }}\nEND\n"
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
    let late = batch(here, "late", "secom-7.1.2-4-root3-tsa", "late");
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
        let said = batch(here, &profile.replace('.', "-"), profile, profile);
        assert!(said.contains("1 are written, 0 requests were rejected"), "{profile}: {said}");
        let certificate = issued(here, &profile.replace('.', "-"));
        assert!(certificate.contains(&format!("Signature Algorithm: {signature}")), "{profile}: {certificate}");
        assert!(certificate.contains(&format!("Public-Key: ({bits} bit)")), "{profile}: {certificate}");
    }
    // The same key under a profile of this century.
    let said = batch(here, "modern", "br-7.1.2.7-tls-server", "mphpt-7.1.2-server");
    assert!(said.contains("0 are written, 1 requests were rejected"), "{said}");
    let rejected = fs::read_to_string(here.join("out-modern/rejected.jsonl")).unwrap();
    assert!(rejected.contains("found rsa-1024, wanted rsa-2048"), "{rejected}");
    succeed(&mut kakunin(here, &["verify", "--config", "kakunin.toml", "--signatures", "all"]));
}
