//! What `lint` finds in profiles that break a rule, and that it finds no error in those that are shipped.

use kakunin::issuance::profile::{Finding, Level, Profile, ProfileError};
use kakunin::pki::Timestamp;

use crate::support::{at, profile};

fn now() -> Timestamp {
    at("2026-11-21T12:00:00Z")
}

/// The text of a shipped profile.
fn text(name: &str) -> String {
    let path = format!("{}/config/profiles/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// A shipped profile with one thing changed.
fn changed(name: &str, from: &str, to: &str) -> Result<Profile, ProfileError> {
    let text = text(name);
    assert!(text.contains(from), "{name}: no {from}");
    Profile::from_toml("changed", &text.replacen(from, to, 1))
}

fn has(findings: &[Finding], level: Level, rule: &str, field: &str) -> bool {
    findings.iter().any(|finding| (finding.level, finding.rule, finding.field.as_str()) == (level, rule, field))
}

#[track_caller]
fn finds(name: &str, from: &str, to: &str, level: Level, rule: &str, field: &str) {
    assert!(!has(&profile(name).lint(now()), level, rule, field), "{name} has it unchanged");
    let findings = changed(name, from, to).unwrap().lint(now());
    assert!(has(&findings, level, rule, field), "{from} -> {to}: {findings:#?}");
}

const SERVER: &str = "br-7.1.2.7-tls-server";
const SHORT: &str = "br-7.1.2.7-tls-server-short-lived";
const RESPONDER: &str = "br-7.1.2.8-ocsp-responder";
const ROOT: &str = "br-7.1.2.1-root";
const SUB_CA: &str = "br-7.1.2.6-tls-sub-ca";

#[test]
fn no_shipped_profile_has_an_error_and_those_of_the_br_have_nothing_but_the_coming_limit() {
    for name in Profile::shipped_names() {
        let findings = profile(name).lint(now());
        assert!(findings.iter().all(|finding| finding.level != Level::Error), "{name}: {findings:#?}");
        if name.starts_with("br-") {
            assert!(findings.iter().all(|finding| finding.rule == "BR 6.3.2"), "{name}: {findings:#?}");
        }
    }
}

#[test]
fn s4_1_o15_legacy_is_told_loudly_and_only_where_it_is() {
    for name in Profile::shipped_names() {
        let profile = profile(name);
        let loud = has(&profile.lint(now()), Level::Warning, "O15", "LEGACY");
        assert_eq!(loud, profile.is_legacy(), "{name}");
        assert_eq!(profile.explain().contains("LEGACY"), profile.is_legacy(), "{name}");
        let is_old = name.starts_with("mphpt") || name.ends_with("sha1") || name.starts_with("jpki-") && !name.contains("7.1");
        assert_eq!(profile.is_legacy(), is_old, "{name}");
    }
}

#[test]
fn p1_a_responder_is_digital_signature_and_ocsp_signing_and_little_else() {
    let e = Level::Error;
    finds(RESPONDER, r#"values = ["digitalSignature"]"#, r#"values = ["digitalSignature", "nonRepudiation"]"#, e, "P1", "key_usage");
    finds(RESPONDER, "key_usage = { critical = true", "key_usage = { critical = false", e, "P1", "key_usage");
    finds(RESPONDER, r#"["OCSPSigning"]"#, r#"["OCSPSigning", "serverAuth"]"#, e, "P1", "extended_key_usage");
    finds(RESPONDER, "ocsp_no_check = { critical = false }", "", e, "P1", "ocsp_no_check");
    finds(RESPONDER, "ocsp_no_check", "crl_distribution_points = { critical = false }\nocsp_no_check", e, "P1", "crl_distribution_points");
    let policies = "certificate_policies = { critical = false, policies = [{ oid = \"2.23.140.1.2.1\" }] }\nocsp_no_check";
    finds(RESPONDER, "ocsp_no_check", policies, e, "P1", "certificate_policies");
    finds("secom-7.1.2-3-root2-ocsp", "ocsp_no_check", policies, Level::Warning, "P1", "certificate_policies");
    finds(SERVER, r#"["serverAuth"]"#, r#"["OCSPSigning"]"#, e, "P1", "extended_key_usage");
}

#[test]
fn p2_a_ca_signs_certificates_and_crls_and_says_so_critically() {
    let e = Level::Error;
    finds(SUB_CA, r#"["keyCertSign", "cRLSign"]"#, r#"["keyCertSign"]"#, e, "P2", "key_usage");
    finds(SUB_CA, r#"["keyCertSign", "cRLSign"]"#, r#"["cRLSign"]"#, e, "RFC 5280 4.2.1.3", "key_usage");
    finds(SUB_CA, "key_usage = { critical = true", "key_usage = { critical = false", e, "RFC 5280 4.2.1.3", "key_usage");
    finds(
        SUB_CA,
        "basic_constraints = { critical = true",
        "basic_constraints = { critical = false",
        e,
        "RFC 5280 4.2.1.9",
        "basic_constraints",
    );
    finds(SUB_CA, "subject_key_identifier = { critical = false }", "", e, "RFC 5280 4.2.1.2", "subject_key_identifier");
    finds(SUB_CA, "authority_key_identifier = { critical = false }", "", e, "RFC 5280 4.2.1.1", "authority_key_identifier");
    finds(
        SUB_CA,
        "authority_key_identifier = { critical = false }",
        "authority_key_identifier = { critical = true }",
        e,
        "RFC 5280 4.2.1.1",
        "authority_key_identifier",
    );
    finds(SUB_CA, r#"["serverAuth"]"#, r#"["serverAuth", "OCSPSigning"]"#, e, "RFC 6960 4.2.2.2", "extended_key_usage");
    finds(
        SUB_CA,
        r#"[{ type = "C" }, { type = "O" }, { type = "CN" }]"#,
        r#"[{ type = "CN", optional = true }]"#,
        e,
        "RFC 5280 4.1.2.6",
        "subject.attributes",
    );
    let limited = "basic_constraints = { critical = true, path_length = { fixed = 1 } }";
    let w = Level::Warning;
    finds(ROOT, "basic_constraints = { critical = true }", limited, w, "RFC 5280 4.2.1.9", "basic_constraints.path_length");
    finds(SERVER, r#"values = ["digitalSignature"]"#, r#"values = ["keyCertSign"]"#, e, "RFC 5280 4.2.1.3", "key_usage");
}

#[test]
fn p4_no_rev_avail_stands_alone_and_for_a_short_time() {
    let e = Level::Error;
    finds(SHORT, "no_rev_avail = { critical = false }", "no_rev_avail = { critical = true }", e, "P4", "no_rev_avail");
    finds(SHORT, "no_rev_avail", "crl_distribution_points = { critical = false }\nno_rev_avail", e, "P4", "no_rev_avail");
    finds(SHORT, "ca_issuers = {} }", "ca_issuers = {}, ocsp = {} }", e, "P4", "no_rev_avail");
    finds(SHORT, r#"maximum = "7d""#, r#"maximum = "8d""#, e, "BR 6.3.2", "validity");
    finds(SHORT, r#"maximum = "7d""#, r#"maximum = "90d""#, Level::Warning, "P4", "validity");
    finds(SUB_CA, "[extensions]", "[extensions]\nno_rev_avail = { critical = false }", e, "P4", "no_rev_avail");
}

#[test]
fn s2_2_tls_profiles_keep_the_limits_of_their_day() {
    let at_level = |text: &str| profile(SERVER).lint(at(text)).iter().find(|f| f.rule == "BR 6.3.2").map(|f| f.level);
    assert_eq!(at_level("2026-03-15T00:00:00Z"), Some(Level::Warning), "the next limit comes within a year");
    assert_eq!(at_level("2027-03-14T23:59:59Z"), Some(Level::Warning));
    assert_eq!(at_level("2027-03-15T00:00:00Z"), Some(Level::Error));
    finds(SERVER, r#"maximum = "199d""#, r#"maximum = "201d""#, Level::Error, "BR 6.3.2", "validity");
    finds(SERVER, r#"maximum = "199d""#, r#"fixed = "200d""#, Level::Error, "BR 6.3.2", "validity");
    assert!(changed(SERVER, r#"maximum = "199d""#, r#"maximum = "47d""#).unwrap().lint(now()).is_empty());
}

#[test]
fn s2_2_tls_profiles_have_what_the_br_want() {
    let e = Level::Error;
    finds(SERVER, r#"subject_alt_name = { critical = false, types = ["dns", "ip"] }"#, "", e, "BR 7.1.2.7.12", "subject_alt_name");
    finds(SERVER, "2.23.140.1.2.1", "1.2.3.4", e, "BR 7.1.2.7.9", "certificate_policies");
    finds(SERVER, "key_usage = { critical = true", "key_usage = { critical = false", e, "BR 7.1.2.7.11", "key_usage");
    finds(SERVER, r#"["serverAuth"]"#, r#"["serverAuth", "codeSigning"]"#, e, "BR 7.1.2.7.10", "extended_key_usage");
    finds(SERVER, "crl_distribution_points = { critical = false }", "", e, "BR 7.1.2.11.2", "crl_distribution_points");
    finds(SERVER, r#", form = "alternative-name", optional = true"#, "", e, "BR 7.1.4.3", "subject.attributes");
    finds(SUB_CA, "crl_distribution_points = { critical = false }", "", e, "BR 7.1.2.11.2", "crl_distribution_points");
    finds(SUB_CA, r#"extended_key_usage = { critical = false, values = ["serverAuth"] }"#, "", e, "BR 7.1.2.10.6", "extended_key_usage");
    finds(ROOT, r#"maximum = "9132d""#, r#"maximum = "9133d""#, e, "BR 7.1.2.1.1", "validity");
    finds(
        ROOT,
        "[extensions]",
        "[extensions]\nextended_key_usage = { critical = false, values = [\"serverAuth\"] }",
        e,
        "BR 7.1.2.1.2",
        "extended_key_usage",
    );
}

#[test]
fn s3_3_time_stamping_stands_alone_and_critical() {
    let tsa = "secom-7.1.2-2-root2-tsa";
    let (e, rule) = (Level::Error, "RFC 3161 2.3");
    finds(tsa, "extended_key_usage = { critical = true", "extended_key_usage = { critical = false", e, rule, "extended_key_usage");
    finds(tsa, r#"["timeStamping"]"#, r#"["timeStamping", "codeSigning"]"#, e, rule, "extended_key_usage");
    assert!(has(&profile("secom-7.1.2-4-root3-tsa").lint(now()), Level::Notice, "profile", "issued_until"));
}

/// What makes no profile at all, and how it is said.
#[test]
fn a_file_that_contradicts_itself_is_refused_with_the_field_and_what_is_wanted() {
    let refused = |name: &str, from: &str, to: &str, said: &str| {
        let message = changed(name, from, to).unwrap_err().to_string();
        assert!(message.contains(said), "{message}");
    };
    refused(SERVER, "kind =", "colour = \"blue\"\nkind =", "unknown field `colour`");
    refused(SERVER, "critical = false }", "critical = false, urgent = true }", "unknown field `urgent`");
    refused(SERVER, "authority_key_identifier = { critical = false }", "authority_key_identifier = {}", "missing field `critical`");
    refused(SERVER, r#"kind = "end-entity""#, r#"kind = "leaf""#, "unknown variant `leaf`");
    refused(SERVER, r#"kind = "end-entity""#, r#"kind = "sub-ca""#, "extensions.basic_constraints: found no CA, wanted a CA's");
    refused(SUB_CA, r#"kind = "sub-ca""#, r#"kind = "end-entity""#, "extensions.basic_constraints: found cA");
    refused(SERVER, r#"["rsa-2048","#, r#"["rsa-1024","#, "legacy: found rsa-1024 in a profile without it, wanted legacy = true");
    refused(SERVER, r#"["rsa-sha256","#, r#"["rsa-sha1","#, "legacy: found rsa-sha1 in a profile without it");
    refused("mphpt-7.1.2-server", "legacy = true", "legacy = false", "legacy: found rsa-1024, rsa-sha1 in a profile without it");
    refused(SERVER, r#"["rsa-2048","#, r#"["rsa-512","#, "unknown variant `rsa-512`");
    refused(SERVER, r#"maximum = "199d""#, r#"maximum = "200""#, "found '200', wanted a period such as 3y, 200d or 12h");
    refused(SERVER, r#"validity = { maximum = "199d" }"#, "", "validity: found none, wanted fixed or maximum");
    refused(
        "jpki-7.1-4-old-with-new",
        "\n[extensions]",
        "validity = { fixed = \"1y\" }\n[extensions]",
        "a link's follows from the certificates",
    );
    refused(SERVER, r#"["serverAuth"]"#, r#"["webServer"]"#, "found 'webServer', wanted one of serverAuth");
    refused(SERVER, r#"["serverAuth"]"#, "[]", "extensions.extended_key_usage: found no values");
    refused(SERVER, "2.23.140.1.2.1", "2.23.x", "found '2.23.x', wanted an object identifier");
    // Modulo 2^32, domain-validated and OCSPSigning.
    refused(SERVER, "2.23.140.1.2.1", "2.23.140.1.2.4294967297", "found '2.23.140.1.2.4294967297', wanted an object identifier");
    refused(SERVER, "serverAuth", "1.3.6.1.5.5.7.3.4294967305", "found '1.3.6.1.5.5.7.3.4294967305', wanted one of serverAuth");
    let mapping =
        "[extensions]\npolicy_mappings = { critical = true, mappings = [{ issuer = \"1.2.3.4\", subject = \"1.2.4294967298.1\" }] }";
    refused(SUB_CA, "[extensions]", mapping, "found '1.2.4294967298.1', wanted an object identifier");
    refused(SERVER, "kind =", "serial_octets = 8\nkind =", "serial_octets: found 8, wanted 9 to 20");
    refused(SERVER, "kind =", "issued_from = \"soon\"\nkind =", "wanted a UTC time");
    refused("secom-7.1.2-1-root1-tsa", r#""A-Z""#, r#""Z-A""#, "characters: found 'Z-A', wanted one character or a range");
    assert!(Profile::from_toml("long", &"#".repeat(65_537)).unwrap_err().to_string().contains("larger than 65536 bytes"));
    let message = Profile::shipped("no-such").unwrap_err().to_string();
    assert!(message.contains("no-such") && message.contains(SERVER), "{message}");
}

/// The example of the README is a profile that keeps the rules.
#[test]
fn the_example_in_the_readme_is_a_profile() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/profiles/README.md")).unwrap();
    let start = readme.find("# Web servers of Example K.K.").unwrap();
    let example = &readme[start..start + readme[start..].find("```").unwrap()];
    let profile = Profile::from_toml("example", example).unwrap();
    assert_eq!(profile.lint(now()), []);
    profile.subject("CN=www.example.com,O=Example K.K.,C=JP").unwrap();
}
