//! CRLs of every scope before other people's programs: full CRL, partitions, ARL, and deltas with their bases.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod taking_over;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use common::http::{self, fetch};
use common::ocsp::{Asker, Hash, serial_of};
use common::openssl_ca::write_secret;
use common::peers::Authority;
use common::{Service, crl_numbers, fail, run, succeed, succeed_with_all, text, tool, until, with_config};
use tempfile::TempDir;

const NAME: &str = "ca";
const BASE_URL: &str = "http://pki.example";
/// Every path at which a CRL is served, with its kind for pkilint.
const PATHS: [(&str, &str); 7] = [
    ("/crl/ca.crl", "CRL"),
    ("/crl/ca/0.crl", "CRL"),
    ("/crl/ca/1.crl", "CRL"),
    ("/crl/ca/arl.crl", "ARL"),
    ("/crl/ca/delta.crl", "CRL"),
    ("/crl/ca/0-delta.crl", "CRL"),
    ("/crl/ca/1-delta.crl", "CRL"),
];

/// A CA that issues to end entities and to CAs, made with OpenSSL and taken over.
struct World {
    directory: TempDir,
}

impl World {
    /// `crl`: what `[issuer.crl]` says, its tables included.
    fn new(crl: &str) -> World {
        World::with_key(crl, &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// `key`: what `openssl genpkey -algorithm` is told.
    fn with_key(crl: &str, key: &[&str]) -> World {
        let world = World { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(world.path("newcerts")).unwrap();
        ["index.txt", "index.txt.attr"].iter().for_each(|name| fs::write(world.path(name), "").unwrap());
        fs::write(world.path("crlnumber"), "05\n").unwrap();
        fs::write(world.path("openssl.cnf"), configuration()).unwrap();
        world.openssl(&[&["genpkey", "-out", "key.pem", "-algorithm"], key].concat());
        write_secret(&world.path("ca.key.pem"), &fs::read_to_string(world.path("key.pem")).unwrap());
        let subject = "/C=JP/O=Scopes/CN=CA of all scopes";
        let root = ["req", "-x509", "-new", "-config", "openssl.cnf", "-extensions", "root", "-key", "key.pem", "-days", "3650", "-subj"];
        world.openssl(&[&root[..], &[subject, "-out", "ca.pem"]].concat());
        for (name, section) in [
            ("full-a", "leaf_full"),
            ("full-b", "leaf_full"),
            ("full-c", "leaf_full"),
            ("zero-a", "leaf_0"),
            ("zero-b", "leaf_0"),
            ("zero-c", "leaf_0"),
            ("zero-d", "leaf_0"),
            ("one-a", "leaf_1"),
            ("sub-a", "sub_ca"),
            ("sub-b", "sub_ca"),
        ] {
            world.issue(name, section);
        }
        fs::write(
            world.config(),
            format!(
                "base_url = \"{BASE_URL}\"\n[registry]\nsqlite = \"registry.sqlite\"\n[responder]\nlisten = \"127.0.0.1:0\"\n[admin]\n\
                 listen = \"127.0.0.1:0\"\n[[issuer]]\nname = \"{NAME}\"\ncertificate = \"ca.pem\"\nkey = {{ file = \"ca.key.pem\" }}\n[issuer.crl]\n{crl}"
            ),
        )
        .unwrap();
        world.import();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = tool("openssl");
        let output = run(command.current_dir(self.directory.path()).args(arguments));
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    }

    fn issue(&self, name: &str, section: &str) {
        let (request, certificate, subject) = (format!("{name}.csr"), format!("{name}.pem"), format!("/C=JP/CN={name}.example"));
        self.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", "key.pem", "-subj", &subject, "-out", &request]);
        let sign = ["ca", "-config", "openssl.cnf", "-batch", "-notext", "-extensions", section, "-in", &request, "-out", &certificate];
        self.openssl(&sign);
    }

    fn import(&self) {
        succeed(&mut self.import_command());
    }

    fn import_command(&self) -> Command {
        let (index, certificates) = (self.text("index.txt"), self.text("newcerts"));
        self.command("import", &["--issuer", NAME, "--openssl-index", &index, "--certificates", &certificates])
    }

    fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        with_config(subcommand, &self.config(), arguments)
    }

    fn revoke(&self, name: &str, reason: &str) {
        let serial = serial_of(&self.certificate(name));
        succeed(&mut self.command("revoke", &["--issuer", NAME, "--serial", &serial, "--reason", reason]));
    }

    fn authority(&self, service: &Service) -> Authority {
        let ca = self.path("ca.pem");
        Authority { issuer: ca.clone(), chain: ca, url: service.ocsp.clone(), scratch: self.directory.path().to_owned() }
    }

    /// `openssl verify` with these CRLs: whether the certificate passes. With a delta among them, it must be used.
    fn passes(&self, authority: &Authority, name: &str, crls: &[Vec<u8>]) -> bool {
        let file = self.path("crls.pem");
        let pems: Vec<String> = crls.iter().map(|crl| fs::read_to_string(authority.crl_pem(crl)).unwrap()).collect();
        fs::write(&file, pems.concat()).unwrap();
        let mut command = tool("openssl");
        command.args(["verify", "-x509_strict", "-crl_check", "-extended_crl", "-use_deltas", "-CAfile"]).arg(&authority.chain);
        let output = run(command.arg("-CRLfile").arg(&file).arg(self.certificate(name)));
        let said = text(&output);
        let expected = if output.status.success() { ": OK" } else { "certificate revoked" };
        assert!(said.contains(expected), "{command:?}: {said}");
        output.status.success()
    }
}

fn configuration() -> String {
    let leaf = |section: &str, url: &str| {
        format!(
            "[{section}]\nbasicConstraints = critical,CA:false\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = serverAuth\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\ncrlDistributionPoints = URI:{url}\n"
        )
    };
    let here = |section: &str, path: &str| leaf(section, &format!("{BASE_URL}{path}"));
    let ca = "basicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign,cRLSign,digitalSignature\nsubjectKeyIdentifier = hash\n\
              authorityKeyIdentifier = keyid\n";
    let leaves = [here("leaf_full", "/crl/ca.crl"), here("leaf_0", "/crl/ca/0.crl"), here("leaf_1", "/crl/ca/1.crl")].concat()
        + &leaf("leaf_elsewhere", "http://crl.example/of/everybody");
    format!(
        "[ca]\ndefault_ca = this\n[this]\ndatabase = index.txt\nnew_certs_dir = newcerts\nrand_serial = yes\ncertificate = ca.pem\n\
         private_key = key.pem\ndefault_md = sha256\ndefault_days = 90\npolicy = anything\nunique_subject = no\n\
         [anything]\ncountryName = optional\ncommonName = supplied\n[req]\ndistinguished_name = name\nprompt = no\n[name]\n\
         [root]\n{ca}[sub_ca]\n{ca}crlDistributionPoints = URI:{BASE_URL}/crl/ca/arl.crl\n\
         [sub_ca_full]\n{ca}crlDistributionPoints = URI:{BASE_URL}/crl/ca.crl\n\
         [ocsp]\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = OCSPSigning\nnoCheck = ignored\n\
         subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n[sub_ca_0]\n{ca}crlDistributionPoints = URI:{BASE_URL}/crl/ca/0.crl\n{leaves}"
    )
}

/// Two entries are great: then a revocation is on the delta at once, and the complete CRL waits for its turn.
const DELTAS: &str =
    "partitions = 2\nat_once_below = 2\n[issuer.crl.arl]\nalone = true\n[issuer.crl.delta]\nof = [\"full\", \"partitions\"]\n";

#[test]
fn c4_c5_s4_2_every_scope_satisfies_openssl_and_pkilint() {
    let world = World::new(DELTAS);
    [("full-a", "keyCompromise"), ("zero-a", "superseded"), ("sub-a", "cACompromise")].iter().for_each(|(n, r)| world.revoke(n, r));
    let service = Service::serve(&mut world.command("serve", &[]));
    let authority = world.authority(&service);
    let crl = |path: &str| fetch(&service.ocsp, path);
    for (path, kind) in PATHS {
        let reply = http::get(&service.ocsp, path, &[]);
        assert_eq!(reply.expect("content-type"), "application/pkix-crl", "{path}");
        authority.crl_pem(&reply.body);
        authority.crl_is_clean(&reply.body, kind, "PKIX");
        authority.crl_is_clean(&reply.body, kind, "BR");
    }
    let said = |path: &str| authority.crl_text(&crl(path));
    for (path, contents) in [("/crl/ca.crl", "Only User Certificates"), ("/crl/ca/arl.crl", "Only CA Certificates")] {
        let text = said(path);
        assert!(text.contains("X509v3 Issuing Distribution Point: critical") && text.contains(contents), "{text}");
        assert!(text.contains(&format!("URI:{BASE_URL}{path}")), "{text}");
    }
    assert!(said("/crl/ca.crl").contains(&format!("URI:{BASE_URL}/crl/ca/delta.crl")), "freshestCRL");
    assert!(said("/crl/ca/delta.crl").contains("X509v3 Delta CRL Indicator: critical"));
    assert!(!said("/crl/ca/delta.crl").contains("Freshest") && !said("/crl/ca/arl.crl").contains("Freshest"));

    let with = |name: &str, paths: &[&str]| world.passes(&authority, name, &paths.iter().map(|path| crl(path)).collect::<Vec<_>>());
    assert!(!with("full-a", &["/crl/ca.crl"]) && with("full-b", &["/crl/ca.crl"]));
    assert!(!with("zero-a", &["/crl/ca/0.crl"]) && with("zero-b", &["/crl/ca/0.crl"]) && with("one-a", &["/crl/ca/1.crl"]));
    assert!(!with("sub-a", &["/crl/ca/arl.crl"]) && with("sub-b", &["/crl/ca/arl.crl"]));

    let list = http::get(&service.ocsp, "/crl/ca/partitions.json", &[]);
    assert_eq!(list.expect("content-type"), "application/json");
    let urls: Vec<String> = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(urls, [0, 1].map(|n| format!("{BASE_URL}/crl/ca/{n}.crl")), "C7");
    let listed = succeed(&mut world.command("list", &["--issuer", NAME, "--crl-urls"]));
    assert_eq!(serde_json::from_str::<Vec<String>>(&listed).unwrap(), urls);
    let verified = succeed(&mut world.command("verify", &["--signatures", "all"]));
    assert!(verified.contains("7 CRLs with 4 entries") && verified.contains("no rule is broken"), "{verified}");
    service.stop();
}

/// Certificates that were issued before there was an ARL name the full CRL, or another URL that somebody else leads here.
#[test]
fn c4_openssl_finds_everybody_on_the_full_crl_beside_an_arl() {
    let world = World::new("partitions = 2\n[issuer.crl.arl]\n");
    for name in ["old-ca-a", "old-ca-b"] {
        world.issue(name, "sub_ca_full");
    }
    for name in ["elsewhere-a", "elsewhere-b"] {
        world.issue(name, "leaf_elsewhere");
    }
    world.import();
    ["old-ca-a", "elsewhere-a", "sub-a"].iter().for_each(|name| world.revoke(name, "superseded"));
    let service = Service::serve(&mut world.command("serve", &[]));
    let authority = world.authority(&service);
    let [full, arl] = ["/crl/ca.crl", "/crl/ca/arl.crl"].map(|path| fetch(&service.ocsp, path));
    for (name, crl, passes) in [
        ("old-ca-a", &full, false),
        ("old-ca-b", &full, true),
        ("elsewhere-a", &full, false),
        ("elsewhere-b", &full, true),
        ("full-a", &full, true),
        ("sub-a", &arl, false),
        ("sub-b", &arl, true),
        ("sub-a", &full, false),
    ] {
        assert_eq!(world.passes(&authority, name, std::slice::from_ref(crl)), passes, "{name}");
    }
    let verified = succeed(&mut world.command("verify", &["--signatures", "all"]));
    assert!(verified.contains("4 CRLs with") && verified.contains("no rule is broken"), "{verified}");
}

/// C1: every kind of CRL with every key, before pkilint; the Baseline Requirements know no Ed25519.
#[test]
fn c1_s4_2_every_scope_is_clean_with_every_key() {
    let rsa = |bits| vec!["RSA", "-pkeyopt", bits];
    for (key, profiles) in [
        (vec!["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], &["PKIX", "BR"][..]),
        (rsa("rsa_keygen_bits:2048"), &["PKIX", "BR"]),
        (rsa("rsa_keygen_bits:3072"), &["PKIX", "BR"]),
        (rsa("rsa_keygen_bits:4096"), &["PKIX", "BR"]),
        (vec!["ED25519"], &["PKIX"]),
    ] {
        let world = World::with_key(&DELTAS.replace("partitions = 2", "partitions = 1"), &key);
        [("full-a", "keyCompromise"), ("zero-a", "superseded"), ("sub-a", "cACompromise")].iter().for_each(|(n, r)| world.revoke(n, r));
        let service = Service::serve(&mut world.command("serve", &[]));
        let authority = world.authority(&service);
        for (path, kind) in PATHS.iter().filter(|(path, _)| !path.contains("/1")) {
            let crl = fetch(&service.ocsp, path);
            authority.crl_pem(&crl);
            profiles.iter().for_each(|profile| authority.crl_is_clean(&crl, kind, profile));
        }
        service.stop();
    }
}

#[test]
fn c5_openssl_accepts_base_and_delta_and_finds_the_revocation_in_the_delta() {
    let world = World::new(DELTAS);
    ["full-a", "zero-a", "zero-b"].iter().for_each(|name| world.revoke(name, "keyCompromise"));
    let service = Service::serve(&mut world.command("serve", &[]));
    let authority = world.authority(&service);
    let crl = |path: &str| fetch(&service.ocsp, path);
    let base = crl("/crl/ca.crl");
    let before = authority.crl_number(&base);
    for (name, complete, delta) in [("full-b", "/crl/ca.crl", "/crl/ca/delta.crl"), ("zero-c", "/crl/ca/0.crl", "/crl/ca/0-delta.crl")] {
        let number = || authority.crl_number(&crl(delta));
        let old = number();
        // Not within the second of the CRLs before: those of one second are issued anew together.
        std::thread::sleep(Duration::from_millis(1100));
        world.revoke(name, "superseded");
        until(Duration::from_secs(10), "the delta that has the revocation", || (number() > old).then_some(()));
        let (base, delta) = (crl(complete), crl(delta));
        assert!(world.passes(&authority, name, std::slice::from_ref(&base)), "{name} is not on the base yet");
        assert!(!world.passes(&authority, name, &[base.clone(), delta.clone()]), "{name} is on the delta");
        let other = if name == "full-b" { "full-c" } else { "zero-d" };
        assert!(world.passes(&authority, other, &[base, delta.clone()]));
        authority.crl_is_clean(&delta, "CRL", "PKIX");
        authority.crl_is_clean(&delta, "CRL", "BR");
    }
    assert_eq!(authority.crl_number(&crl("/crl/ca.crl")), before, "the complete CRL waits for its turn");
    assert!(!world.passes(&authority, "full-a", &[crl("/crl/ca.crl"), crl("/crl/ca/delta.crl")]), "what is on the base stays revoked");
    let verified = succeed(&mut world.command("verify", &["--signatures", "all"]));
    assert!(verified.contains("no rule is broken"), "C9, while revocations wait for the next complete CRL: {verified}");
    service.stop();
}

/// What was signed while it was published is valid for long, and lacks whatever is revoked from then on.
#[test]
fn c4_c9_t4_a_scope_that_is_no_longer_published_is_neither_served_nor_called_fresh() {
    const EXTRA: &str = "[issuer.crl.arl]\n[issuer.crl.delta]\nof = [\"full\"]\n";
    let world = World::new(&format!("partitions = 2\n{EXTRA}"));
    let sign = || succeed(&mut world.command("sign", &["--once"]));
    sign();
    let service = Service::serve(&mut world.command("serve", &["--roles", "responder"]));
    let paths = ["/crl/ca.crl", "/crl/ca/arl.crl", "/crl/ca/delta.crl"];
    let served = || paths.map(|path| http::get(&service.ocsp, path, &[]).status);
    assert_eq!(served(), [200; 3]);

    let with = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), with.replace(EXTRA, "")).unwrap();
    world.revoke("sub-a", "cACompromise");
    sign();
    until(Duration::from_secs(10), "what is not published is not served", || (served() == [200, 404, 404]).then_some(()));
    let report = &common::status(&world.config())["issuers"][0];
    let scopes =
        |list: &str| report[list].as_array().unwrap().iter().map(|crl| crl["scope"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (scopes("crls"), scopes("crls_no_longer_published")),
        (["full", "partition 0", "partition 1"].map(Into::into).to_vec(), vec!["arl".into(), "full delta".into()])
    );
    let said = succeed(&mut world.command("status", &[]));
    assert!(said.contains("CRL full fresh") && said.contains("CRL arl no longer published"), "{said}");
    let verified = succeed(&mut world.command("verify", &["--signatures", "all"]));
    assert!(verified.contains("3 CRLs with 1 entries") && verified.contains("no rule is broken"), "{verified}");

    fs::write(world.config(), with).unwrap();
    sign();
    until(Duration::from_secs(10), "what is published again is served again", || (served() == [200; 3]).then_some(()));
    service.stop();
}

/// A CA whose revocation could not be published is not recorded as revoked.
#[test]
fn c3_o14_a_ca_is_revoked_for_a_reason() {
    let world = World::new(DELTAS);
    let serial = serial_of(&world.certificate("sub-a"));
    let said = fail(&mut world.command("revoke", &["--issuer", NAME, "--serial", &serial, "--reason", "unspecified"]));
    assert!(said.contains("wanted another one") && said.contains("C3"), "{said}");
    let all = ["--issuer", NAME, "--all", "--confirm", NAME, "--reason"];
    let said = fail(world.command("revoke", &all).arg("unspecified"));
    assert!(said.contains("has an ARL"), "{said}");
    world.openssl(&["ca", "-config", "openssl.cnf", "-revoke", "sub-b.pem"]);
    let (index, certificates) = (world.text("index.txt"), world.text("newcerts"));
    let import = ["--issuer", NAME, "--openssl-index", &index, "--certificates", &certificates];
    let said = fail(&mut world.command("import", &import));
    assert!(said.contains("wanted a reason") && said.contains(&serial_of(&world.certificate("sub-b"))), "{said}");
    succeed(world.command("revoke", &all).arg("cACompromise"));
    succeed(&mut world.command("sign", &["--once"]));
    let verified = succeed(&mut world.command("verify", &[]));
    assert!(verified.contains("no rule is broken"), "{verified}");
}

#[test]
fn s5_2_t6_a_closed_ca_is_served_with_its_last_crls() {
    let world = World::new("last_crl = true\n[issuer.crl.arl]\nalone = true\n");
    world.revoke("full-a", "keyCompromise");
    succeed(&mut world.command("sign", &["--once"]));
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), text.replace("name = \"ca\"", "name = \"ca\"\nmode = \"closed\"")).unwrap();
    let said = fail(&mut world.command("sign", &["--once"]));
    assert!(said.contains("mode: found 'closed', wanted 'run-off' as long as a certificate is neither revoked nor expired"), "{said}");
    succeed(&mut world.command("revoke", &["--issuer", NAME, "--all", "--confirm", NAME, "--reason", "superseded"]));
    let said = fail(&mut world.command("sign", &["--once"]));
    assert!(
        said.contains("wanted 'run-off' until everything of it is published") && said.contains("7 revocations on the CRL (full)"),
        "{said}"
    );
    let closed = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), text).unwrap();
    succeed(&mut world.command("sign", &["--once"]));
    fs::write(world.config(), closed).unwrap();
    let service = Service::serve(&mut world.command("serve", &[]));
    let authority = world.authority(&service);
    for (path, kind) in [PATHS[0], PATHS[3]] {
        let crl = until(Duration::from_secs(10), "the last CRL", || {
            Some(fetch(&service.ocsp, path)).filter(|crl| authority.crl_text(crl).contains("Next Update: Dec 31 23:59:59 9999 GMT"))
        });
        authority.crl_is_clean(&crl, kind, "PKIX");
    }
    assert!(!world.passes(&authority, "full-a", &[fetch(&service.ocsp, "/crl/ca.crl")]));
    let numbers = crl_numbers(&world.config());
    service.stop();
    succeed(&mut world.command("sign", &["--once"]));
    assert_eq!(crl_numbers(&world.config()), numbers, "nothing follows them");
    let verified = succeed(&mut world.command("verify", &[]));
    assert!(verified.contains("no rule is broken"), "nothing of it has to be fresh: {verified}");
}

#[test]
fn c6_o14_who_keeps_status_for_ever_says_so_in_every_response() {
    let world = World::new("partitions = 2\nkeep_expired = \"for-ever\"\n[issuer.ocsp.live]\nnonce = true\n");
    let config = fs::read_to_string(world.config()).unwrap().replace("[[issuer]]", "[[issuer]]\nprogrammes = [\"etsi-qualified\"]");
    fs::write(world.config(), config).unwrap();
    world.revoke("full-a", "keyCompromise");
    let service = Service::serve(&mut world.command("serve", &[]));
    let authority = world.authority(&service);
    let said = succeed(tool("openssl").args(["x509", "-noout", "-startdate", "-in"]).arg(world.path("ca.pem")));
    let since = said.trim().strip_prefix("notBefore=").unwrap();
    for (name, nonce) in [("full-a", "-no_nonce"), ("full-b", "-no_nonce"), ("full-b", "-nonce")] {
        let mut command = tool("openssl");
        command.args(["ocsp", "-resp_text", nonce, "-issuer"]).arg(&authority.issuer).arg("-cert").arg(world.certificate(name));
        let said = succeed_with_all(command.arg("-CAfile").arg(&authority.chain).arg("-url").arg(&authority.url));
        let (_, cutoff) = said.split_once("OCSP Archive Cutoff:").unwrap_or_else(|| panic!("{name}, {nonce}: {said}"));
        assert!(cutoff.trim_start().starts_with(since) && said.contains("Response verify OK"), "{since}: {said}");
        assert_eq!(said.contains("OCSP Nonce:"), nonce == "-nonce", "{said}");
    }
    let request = Asker::new(&authority.issuer).request(&serial_of(&world.certificate("full-b")), Hash::Sha1);
    authority.response_is_clean(&http::post(&service.ocsp, "/ocsp", &request).body);
    let verified = succeed(&mut world.command("verify", &["--signatures", "all"]));
    assert!(verified.contains("no rule is broken"), "{verified}");
    service.stop();
}

/// The CRLs of end entities alone do not have it, whatever the issuer may certify.
#[test]
fn c3_cacompromise_is_a_reason_for_a_ca_only_where_it_has_crls_of_its_own() {
    let world = World::new("partitions = 2\n[issuer.crl.arl]\n");
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), config.replace("[[issuer]]", "[[issuer]]\nprogrammes = [\"baseline-requirements\"]")).unwrap();
    let of = |name: &str| serial_of(&world.certificate(name));
    let revoke = |which: &[&str]| world.command("revoke", &[&["--issuer", NAME, "--reason", "cACompromise"], which].concat());
    let (leaf, ca) = (of("zero-a"), of("sub-a"));
    for which in [&["--serial", &leaf][..], &["--all", "--confirm", NAME]] {
        let said = fail(&mut revoke(which));
        assert!(said.contains("--reason: found cACompromise, wanted one of unspecified, keyCompromise,"), "{said}");
    }
    succeed(&mut revoke(&["--serial", &ca]));
    succeed(&mut world.command("sign", &["--once"]));
}
