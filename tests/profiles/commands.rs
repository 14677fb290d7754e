//! `kakunin profile` and `kakunin check` as an operator meets them.

use std::fs;
use std::path::{Path, PathBuf};

use kakunin::issuance::profile::Profile;
use serde_json::Value;

use crate::common::{Service, fail, kakunin, run, succeed, text, with_config};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/profiles/{name}.toml"))
}

#[test]
fn profile_list_names_every_profile_and_marks_the_legacy_ones() {
    let lines = succeed(&mut kakunin(["profile", "list"]));
    for name in Profile::shipped_names() {
        let line = lines.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_else(|| panic!("no {name}: {lines}"));
        assert_eq!(line.ends_with("LEGACY"), Profile::shipped(name).unwrap().is_legacy(), "{line}");
    }
    let json = succeed(&mut kakunin(["profile", "list", "--json"]));
    let listed: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), Profile::shipped_names().count());
    let server = listed.iter().find(|value| value["name"] == "mphpt-7.1.2-server").unwrap();
    assert_eq!((&server["kind"], &server["legacy"]), (&Value::from("end-entity"), &serde_json::json!(["rsa-1024", "rsa-sha1"])));
}

#[test]
fn s3_3_s4_1_s5_7_profile_lint_explains_and_finds_no_error_in_what_is_shipped() {
    let files: Vec<PathBuf> = Profile::shipped_names().map(shipped).collect();
    let mut command = kakunin(["profile", "lint"]);
    let said = succeed(command.args(&files));
    for line in [
        "mphpt-7.1.2-server: MPHPT operation-support CA: server certificate",
        "  LEGACY       rsa-1024, rsa-sha1: relying parties refuse these",
        "  valid        exactly 3y",
        "  subject      C=JP, O=Japanese Government, OU=MPHPT, CN (a host name); PrintableString; unique in the CA",
        "  extension    keyUsage, critical: digitalSignature, keyEncipherment, dataEncipherment",
        "  extension    netscape-cert-type: SSL server",
        "  extension    id-pkix-ocsp-nocheck",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    // By name, without the files.
    assert!(succeed(&mut kakunin(["profile", "lint", "br-7.1.2.8-ocsp-responder"])).contains("no findings"));
}

#[test]
fn p4_profile_lint_ends_with_an_error_where_a_rule_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.toml");
    let good = fs::read_to_string(shipped("br-7.1.2.7-tls-server-short-lived")).unwrap();
    fs::write(&file, good.replace("no_rev_avail", "crl_distribution_points = { critical = false }\nno_rev_avail")).unwrap();
    let mut lint = kakunin(["profile", "lint"]);
    let output = run(lint.arg(&file));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("error    no_rev_avail: found beside crl_distribution_points, wanted alone (P4)"), "{said}");
    assert!(said.contains("1 errors in 1 profiles"), "{said}");
    let output = run(kakunin(["profile", "lint", "--json"]).arg(&file));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["name"], &json["findings"][0]["rule"], &json["findings"][0]["level"]),
        (&"mine".into(), &"P4".into(), &"error".into())
    );
    assert_eq!(output.status.code(), Some(1));

    fs::write(&file, good.replace("maximum", "longest")).unwrap();
    let message = fail(kakunin(["profile", "lint"]).arg(&file));
    assert!(message.contains("profile mine") && message.contains("unknown variant `longest`"), "{message}");
    let message = fail(kakunin(["profile", "lint"]).arg(directory.path().join("none.toml")));
    assert!(message.contains("none.toml"), "{message}");
    assert!(fail(&mut kakunin(["profile", "lint", "no-such-profile"])).contains("br-7.1.2.7-tls-server"));
    fail(&mut kakunin(["profile", "lint"]));
}

#[test]
fn s4_1_o15_check_tries_profiles_and_is_loud_about_legacy_ones() {
    let directory = tempfile::tempdir().unwrap();
    Service::demo(directory.path(), &["--certificates", "20", "--revoked", "2", "--key-algorithm", "rsa2048"]).stop();
    let config = directory.path().join("kakunin.toml");
    let written = fs::read_to_string(&config).unwrap();
    fs::copy(shipped("br-7.1.2.7-tls-server"), directory.path().join("mine.toml")).unwrap();
    let with_profiles = |profiles: &str| {
        // Behind the last table of the last issuer.
        fs::write(&config, format!("{written}\n[issuer.issuance]\nprofiles = {profiles}\n")).unwrap();
    };
    with_profiles(r#"["mine.toml", "secom-7.1.2-5-root3-ocsp", "jpki-ocsp-responder"]"#);
    let said = succeed(&mut with_config("check", &config, &[]));
    assert!(said.contains("mine.toml': TLS Baseline Requirements: server certificate, domain-validated, signed with rsa-sha256"), "{said}");
    assert!(said.contains("signed with rsa-sha384"), "the key is opened with the profile's algorithm: {said}");
    assert!(said.contains("profile 'jpki-ocsp-responder': LEGACY: JPKI: OCSP responder certificate"), "{said}");
    assert!(said.contains("warning  LEGACY: found rsa-1024, wanted an algorithm of this century"), "{said}");

    with_profiles(r#"["mphpt-7.1.2-server"]"#);
    let said = text(&run(&mut with_config("check", &config, &[])));
    assert!(said.contains("problem") && said.contains("signature algorithm rsa-sha1 with a key in a file"), "{said}");
    with_profiles(r#"["mine.toml", "mine.toml"]"#);
    assert!(fail(&mut with_config("check", &config, &[])).contains("each profile once"));
    with_profiles(r#"["absent"]"#);
    assert!(text(&run(&mut with_config("check", &config, &[]))).contains("profile 'absent': wanted the path of a .toml file"));
}
