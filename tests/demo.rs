//! `kakunin demo` as a newcomer and his tools see it: files, OpenSSL, GnuTLS, pkilint, what the commands say, running again, stopping.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::ocsp::{Answer, Asker, HASHES, Hash, serial_of};
use common::peers::{Authority, Expected, curl, urls};
use common::{Process, Service, demo_command, fail, http, list, run, status, succeed, text, until, with_config};
use der::Encode;
use tempfile::TempDir;

/// A demo that is running.
struct Demo {
    service: Service,
    directory: TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let directory = tempfile::tempdir().unwrap();
        let service = Service::demo(&directory.path().join("demo"), arguments);
        Demo { service, directory }
    }

    /// With a few hundred certificates.
    fn usual() -> Demo {
        Demo::start(&["--certificates", "300", "--revoked", "30"])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("demo").join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    fn good(&self) -> PathBuf {
        self.path("certificates/good.pem")
    }

    fn revoked(&self) -> PathBuf {
        self.path("certificates/revoked.pem")
    }

    fn authority(&self) -> Authority {
        let scratch = self.directory.path().to_owned();
        Authority { issuer: self.path("issuing.pem"), chain: self.path("chain.pem"), url: self.service.ocsp.clone(), scratch }
    }

    /// The CRL to which a certificate's distribution point leads.
    fn crl_of(&self, certificate: &Path) -> Vec<u8> {
        let (points, _) = urls(certificate);
        let [url] = &points[..] else { panic!("C4: one distribution point, found {points:?}") };
        assert!(url.starts_with(&format!("{}/crl/issuing/", self.service.ocsp)), "{url}");
        curl(&[url])
    }
}

#[test]
fn leaves_the_files_that_are_promised() {
    let demo = Demo::usual();
    assert_eq!((demo.service.certificates, demo.service.revoked), (300, 30));
    for name in ["kakunin.toml", "root.pem", "issuing.pem", "chain.pem", "certificates/good.pem", "certificates/revoked.pem"] {
        assert!(demo.path(name).is_file(), "{name}");
    }
    for key in fs::read_dir(demo.path("keys")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let key = key.unwrap();
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", key.path());
    }
    let printed = demo.service.printed.join("\n");
    for command in ["openssl ocsp ", "curl ", "openssl crl "] {
        assert!(printed.contains(command), "{command} is not among what can be pasted:\n{printed}");
    }
    let configuration = fs::read_to_string(demo.config()).unwrap();
    for issuer in ["name = \"root\"", "name = \"issuing\""] {
        assert!(configuration.contains(issuer), "{configuration}");
    }
    demo.service.stop();
}

#[test]
fn the_printed_commands_work_as_they_are() {
    let demo = Demo::usual();
    let printed = demo.service.printed.join("\n").replace("\\\n", " ");
    let is_command = |line: &&str| ["openssl ", "curl ", "kakunin "].iter().any(|program| line.starts_with(program));
    let commands: Vec<&str> = printed.lines().map(str::trim).filter(is_command).collect();
    for program in ["openssl ocsp ", "openssl verify ", "kakunin status ", "kakunin revoke "] {
        assert!(commands.iter().any(|line| line.starts_with(program)), "{program}: {printed}");
    }
    let built = Path::new(env!("CARGO_BIN_EXE_kakunin")).parent().unwrap();
    let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
    for line in commands {
        let output = common::run(common::tool("bash").args(["-o", "pipefail", "-ec", line]).env("PATH", &path));
        assert!(output.status.success(), "{line}: {}", text(&output));
        let verified = text(&output).contains("Response verify OK");
        assert!(verified || !line.starts_with("openssl ocsp "), "{line}: {}", text(&output));
    }
}

#[test]
fn openssl_says_good_and_revoked_with_either_cert_id_hash_with_and_without_nonce() {
    let demo = Demo::usual();
    let authority = demo.authority();
    for hash in HASHES {
        for nonce in [false, true] {
            authority.openssl_agrees(&demo.good(), hash, nonce, Expected::Good);
            authority.openssl_agrees(&demo.revoked(), hash, nonce, Expected::Revoked("keyCompromise"));
        }
    }
    for base in ["/", "/ocsp", "/ocsp/", "/ocsp/issuing"] {
        let authority = Authority { url: format!("{}{base}", demo.service.ocsp), ..demo.authority() };
        authority.openssl_agrees(&demo.good(), Hash::Sha1, false, Expected::Good);
    }
}

/// The responder's certificate names the CA: a relying party that trusts the root alone needs the issuing CA from elsewhere only.
#[test]
fn o7_openssl_builds_the_responders_chain_to_the_root() {
    let demo = Demo::usual();
    let (_, responders) = urls(&demo.good());
    assert_eq!(responders, [format!("{}/ocsp/issuing", demo.service.ocsp)], "the URL in the certificate is the one that is served");
    let mut command = common::tool("openssl");
    command.args(["ocsp", "-issuer"]).arg(demo.path("issuing.pem")).arg("-cert").arg(demo.revoked()).args(["-url", &responders[0]]);
    command.arg("-CAfile").arg(demo.path("root.pem")).arg("-verify_other").arg(demo.path("issuing.pem"));
    let said = common::succeed_with_all(&mut command);
    assert!(said.contains("Response verify OK") && said.contains("Reason: keyCompromise"), "{said}");
}

#[test]
fn gnutls_says_good_and_revoked() {
    let demo = Demo::usual();
    demo.authority().ocsptool_agrees(&demo.good(), Expected::Good);
    demo.authority().ocsptool_agrees(&demo.revoked(), Expected::Revoked("keyCompromise"));
}

#[test]
fn s3_6_the_root_answers_for_the_issuing_ca() {
    let demo = Demo::usual();
    let authority = Authority { issuer: demo.path("root.pem"), chain: demo.path("root.pem"), ..demo.authority() };
    for hash in HASHES {
        authority.openssl_agrees(&demo.path("issuing.pem"), hash, false, Expected::Good);
    }
    let (points, _) = urls(&demo.path("issuing.pem"));
    let crl = curl(&[&points[0]]);
    assert!(authority.verifies_with_crl(&demo.path("issuing.pem"), &crl));
}

/// Every certificate of the list, asked for one by one, by both CertID hashes.
#[test]
fn s2_1_o5_c9_every_certificate_is_answered_as_it_is_listed() {
    let demo = Demo::usual();
    let (asker, all) = (Asker::new(&demo.path("issuing.pem")), list(&demo.config(), "issuing"));
    assert_eq!((all.len(), all.iter().filter(|c| c.is_revoked()).count()), (300, 30));
    let serials: std::collections::BTreeSet<_> = all.iter().map(|c| &c.serial).collect();
    assert_eq!(serials.len(), 300, "P3: no serial repeats");
    assert!(serials.iter().all(|serial| serial.len() >= 16 && serial.len() <= 40), "P3: at least 64 bits, below 2^159");
    let authority = demo.authority();
    let on_full_crl = authority.crl_text(&http::fetch(&demo.service.ocsp, "/crl/issuing.crl")).to_lowercase();
    for certificate in &all {
        for hash in HASHES {
            let answer = asker.ask(&demo.service.ocsp, &certificate.serial, hash);
            assert_eq!(answer.single().cert_id, asker.cert_id(&certificate.serial, hash));
            assert_eq!(answer.is_revoked(), certificate.is_revoked(), "{certificate:?}");
            assert_eq!(answer.is_good(), !certificate.is_revoked(), "{certificate:?}");
            assert_eq!(answer.reason(), certificate.reason, "{certificate:?}");
        }
        let entry = format!("serial number: {}\n", certificate.serial);
        assert_eq!(on_full_crl.contains(&entry), certificate.is_revoked(), "C9: {certificate:?}");
    }
}

#[test]
fn c4_c10_the_partition_crl_of_the_certificate_decides() {
    let demo = Demo::usual();
    let authority = demo.authority();
    for (certificate, passes) in [(demo.good(), true), (demo.revoked(), false)] {
        let crl = demo.crl_of(&certificate);
        assert_eq!(authority.verifies_with_crl(&certificate, &crl), passes);
        let text = authority.crl_text(&crl);
        let (points, _) = urls(&certificate);
        for part in ["X509v3 Issuing Distribution Point: critical", &format!("URI:{}", points[0]), "Only User Certificates"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let full = authority.crl_text(&http::fetch(&demo.service.ocsp, "/crl/issuing.crl"));
    assert!(!full.contains("Issuing Distribution Point"), "C4: {full}");
    assert_eq!(full.matches("Serial Number: ").count(), 30);
    assert_eq!(full.matches("X509v3 CRL Reason Code: critical").count(), 0, "C3");
    assert!(full.contains("X509v3 Authority Key Identifier"), "C1: {full}");
}

#[test]
fn every_partition_together_holds_what_the_full_crl_holds() {
    let demo = Demo::usual();
    let authority = demo.authority();
    let mut listed = 0;
    for partition in 0..8 {
        let text = authority.crl_text(&http::fetch(&demo.service.ocsp, &format!("/crl/issuing/{partition}.crl")));
        listed += text.matches("Serial Number: ").count();
    }
    assert_eq!(listed, 30);
    assert_eq!(http::get(&demo.service.ocsp, "/crl/issuing/8.crl", &[]).status, 404);
}

#[test]
fn s2_2_p1_pkilint_finds_nothing_in_responses_crls_and_the_responder_certificate() {
    let demo = Demo::usual();
    let (authority, asker) = (demo.authority(), Asker::new(&demo.path("issuing.pem")));
    for certificate in [demo.good(), demo.revoked()] {
        for hash in HASHES {
            let reply = http::post(&demo.service.ocsp, "/ocsp", &asker.request(&serial_of(&certificate), hash));
            authority.response_is_clean(&reply.body);
            let basic = Answer::of(&reply).basic.unwrap();
            let [responder] = &basic.certs.unwrap()[..] else { panic!("O7: one certificate") };
            authority.responder_is_clean(&responder.to_der().unwrap());
        }
        authority.crl_is_clean(&demo.crl_of(&certificate), "CRL", "BR");
    }
    let full = http::fetch(&demo.service.ocsp, "/crl/issuing.crl");
    authority.crl_is_clean(&full, "CRL", "BR");
    authority.crl_is_clean(&full, "CRL", "PKIX");
    authority.crl_is_clean(&http::fetch(&demo.service.ocsp, "/crl/issuing/7.crl"), "CRL", "PKIX");
    authority.crl_is_clean(&http::fetch(&demo.service.ocsp, "/crl/root.crl"), "CRL", "PKIX");
}

#[test]
fn list_status_and_check_tell_what_is_there() {
    let demo = Demo::usual();
    let listed =
        |filter: &[&str]| succeed(&mut with_config("list", &demo.config(), &[&["--issuer", "issuing"], filter].concat())).lines().count();
    assert_eq!((listed(&["--status", "good"]), listed(&["--status", "revoked"]), listed(&["--limit", "7"])), (270, 30, 7));
    let revoked = list(&demo.config(), "issuing").into_iter().find(|c| c.serial == serial_of(&demo.revoked())).unwrap();
    assert_eq!(revoked.reason.as_deref(), Some("keyCompromise"));
    assert!(humantime::parse_rfc3339(&revoked.revoked_at.unwrap()).is_ok());

    let status = status(&demo.config());
    let issuing = status["issuers"].as_array().unwrap().iter().find(|i| i["name"] == "issuing").unwrap();
    assert_eq!((&issuing["certificates"]["good"], &issuing["certificates"]["revoked"]), (&270.into(), &30.into()), "{issuing}");
    assert_eq!((&issuing["mode"], &issuing["ocsp"]["fresh"]), (&"open".into(), &true.into()), "{issuing}");
    assert_eq!(issuing["crls"].as_array().unwrap().len(), 9, "{issuing}");
    assert!(issuing["crls"].as_array().unwrap().iter().all(|crl| crl["fresh"] == true), "{issuing}");
    let spoken = succeed(&mut with_config("status", &demo.config(), &[]));
    assert!(spoken.contains("270 good, 30 revoked") && !spoken.contains("NOT FRESH"), "{spoken}");

    let checked = succeed(&mut with_config("check", &demo.config(), &[]));
    assert!(checked.contains("issuer 'issuing'") && checked.contains("issuer 'root'") && !checked.contains("problem"), "{checked}");
    let fewer = fs::read_to_string(demo.config()).unwrap().replace("partitions = 8", "partitions = 4");
    fs::write(demo.path("fewer.toml"), fewer).unwrap();
    let checked = text(&run(&mut with_config("check", &demo.path("fewer.toml"), &[])));
    assert!(checked.contains("crl.partitions: found 4, wanted at least 8"), "{checked}");
}

#[test]
fn s3_7_health_and_metrics_are_on_the_admin_listener_only() {
    let demo = Demo::usual();
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(&demo.service.admin, path, &[]).status, 200, "{path}");
        assert_eq!(http::get(&demo.service.ocsp, path, &[]).status, 404, "{path}");
    }
    curl(&[&demo.service.ocsp]);
    let answers = |kind: &str| metrics(&demo.service)[&format!("kakunin_ocsp_answers_total{{kind=\"{kind}\"}}")];
    assert_eq!(["good", "revoked", "unauthorized"].map(answers), [0.0; 3]);
    let asker = Asker::new(&demo.path("issuing.pem"));
    for (certificate, times) in [(demo.good(), 20), (demo.revoked(), 7)] {
        (0..times).for_each(|_| drop(asker.ask(&demo.service.ocsp, &serial_of(&certificate), Hash::Sha1)));
    }
    (0..5).for_each(|_| drop(asker.ask(&demo.service.ocsp, "0123456789abcdef", Hash::Sha256)));
    assert_eq!(["good", "revoked", "unauthorized"].map(answers), [20.0, 7.0, 5.0], "S3.7: requests for unused serials are counted");
}

/// The samples of `/metrics`, which must be Prometheus' text format.
fn metrics(service: &Service) -> std::collections::BTreeMap<String, f64> {
    let reply = http::get(&service.admin, "/metrics", &[]);
    assert_eq!(reply.status, 200);
    assert!(reply.expect("content-type").starts_with("text/plain"), "{:?}", reply.headers);
    let text = reply.text();
    let (comments, samples): (Vec<_>, Vec<_>) = text.lines().filter(|l| !l.is_empty()).partition(|line| line.starts_with('#'));
    assert!(comments.iter().all(|line| line.starts_with("# HELP ") || line.starts_with("# TYPE ")), "{text}");
    let sample = |line: &&str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'), "{line}");
        (name.to_owned(), value.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
    };
    samples.iter().map(sample).collect()
}

#[test]
fn s3_9_the_same_directory_again_resumes_at_once_without_signing_anything_anew() {
    let demo = Demo::usual();
    let asker = Asker::new(&demo.path("issuing.pem"));
    let (config, all) = (demo.config(), list(&demo.config(), "issuing"));
    let bodies = |url: &str| -> Vec<Vec<u8>> {
        let answers = all.iter().map(|c| http::post(url, "/", &asker.request(&c.serial, Hash::Sha1)).body);
        let crls = (0..8).map(|n| http::fetch(url, &format!("/crl/issuing/{n}.crl")));
        answers.chain(crls).chain([http::fetch(url, "/crl/issuing.crl"), http::fetch(url, "/crl/root.crl")]).collect()
    };
    let before = bodies(&demo.service.ocsp);
    demo.service.stop();
    for round in ["once", "twice"] {
        let again = Service::demo(&demo.directory.path().join("demo"), &[]);
        assert!(again.ready_after < Duration::from_secs(10), "{round}: {:?}", again.ready_after);
        println!("ready again after {:?}", again.ready_after);
        assert_eq!((again.certificates, again.revoked), (300, 30));
        assert_eq!(list(&config, "issuing"), all);
        assert_eq!(bodies(&again.ocsp), before, "{round}: not one octet was signed anew");
        again.stop();
    }
    let served = Service::serve(&mut with_config("serve", &config, &[]));
    assert_eq!(bodies(&served.ocsp), before);
    served.stop();
}

#[test]
fn a_larger_plan_adds_to_what_is_there() {
    let demo = Demo::start(&["--certificates", "40", "--revoked", "5"]);
    let before = list(&demo.config(), "issuing");
    demo.service.stop();
    let directory = demo.directory.path().join("demo");
    let more = Service::demo(&directory, &["--certificates", "90", "--revoked", "12"]);
    assert_eq!((more.certificates, more.revoked), (90, 12));
    let after = list(&directory.join("kakunin.toml"), "issuing");
    let kept = |old: &common::Listed| after.iter().any(|new| new.serial == old.serial && (!old.is_revoked() || new == old));
    assert!(before.iter().all(kept));
    let other = fail(&mut demo_command(&directory, &["--key-algorithm", "rsa-2048"]));
    assert!(other.contains("ecdsa-p256") && other.contains("rsa-2048"), "{other}");
}

#[test]
fn sigterm_and_ctrl_c_drain_and_end_with_exit_code_0() {
    for signal in ["TERM", "INT"] {
        let mut demo = Demo::start(&["--certificates", "20", "--revoked", "2"]);
        let asker = Asker::new(&demo.path("issuing.pem"));
        let sent = http::request(
            "POST",
            "/",
            &[("Content-Type", "application/ocsp-request")],
            Some(&asker.request(&serial_of(&demo.good()), Hash::Sha1)),
        );
        // One connection that is idle between requests, one that never said anything.
        let mut kept = http::Connection::open(&demo.service.ocsp).unwrap();
        assert_eq!(kept.exchange(&sent).unwrap().status, 200);
        let _silent = http::Connection::open(&demo.service.ocsp).unwrap();
        let stopped = std::time::Instant::now();
        assert_eq!(demo.service.process.stop(signal).code(), Some(0), "{}", demo.service.stderr());
        println!("SIG{signal}: stopped after {:?}", stopped.elapsed());
        assert!(stopped.elapsed() < Duration::from_secs(5), "idle connections hold nothing up: {:?}", stopped.elapsed());
        assert!(kept.rest().is_ok_and(|rest| rest.is_empty()), "the kept connection is closed properly");
    }
}

/// Who supervises it may stop it as soon as it has said that it is ready.
#[test]
fn sigterm_right_after_the_ready_line_ends_with_exit_code_0() {
    let demo = Demo::start(&["--certificates", "20", "--revoked", "2"]);
    let config = demo.config();
    demo.service.stop();
    for _ in 0..20 {
        Service::start(&mut with_config("serve", &config, &[])).stop();
    }
}

#[test]
fn sigterm_while_it_is_built_ends_at_once_and_the_next_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut early = Process::start(&mut demo_command(directory.path(), &["--certificates", "3000", "--revoked", "100"]));
    until(Duration::from_secs(60), "the registry", || directory.path().join("registry.sqlite").exists().then_some(()));
    early.stop("TERM");
    let service = Service::demo(directory.path(), &[]);
    assert_eq!((service.certificates, service.revoked), (3000, 100));
    service.stop();
}

#[test]
fn every_key_algorithm_works_with_openssl_and_gnutls() {
    for algorithm in ["rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384", "ed25519"] {
        let demo = Demo::start(&["--certificates", "6", "--revoked", "2", "--key-algorithm", algorithm]);
        println!("{algorithm}: ready after {:?}", demo.service.ready_after);
        let authority = demo.authority();
        authority.openssl_agrees(&demo.good(), Hash::Sha1, false, Expected::Good);
        authority.openssl_agrees(&demo.revoked(), Hash::Sha256, false, Expected::Revoked("keyCompromise"));
        authority.ocsptool_agrees(&demo.good(), Expected::Good);
        assert!(!authority.verifies_with_crl(&demo.revoked(), &demo.crl_of(&demo.revoked())));
        demo.service.stop();
    }
}
