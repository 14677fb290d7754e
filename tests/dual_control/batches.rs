//! What an order of a batch may say beside its inputs, and what comes of it.

use std::fs;

use kakunin::pki::{CertificateInfo, Timestamp};

use crate::common::random::Random;
use crate::common::{PATIENCE, Process, fail, list, succeed, tool, until};
use crate::orders::{Office, request_made_here};
use crate::{approved, office};

#[test]
fn s4_8_an_order_by_a_profile_that_its_issuer_does_not_have_is_refused() {
    let (_directory, office) = office();
    let config = fs::read_to_string(office.config()).unwrap();
    let with = |profiles: &str| {
        let tables: Vec<&str> = config.split("[[issuer]]").collect();
        let end = |table: &str| format!("{}\n\n[issuer.issuance]\nprofiles = {profiles}\n\n", table.trim_end());
        let tables: Vec<String> =
            tables.iter().map(|table| if table.contains("name = \"issuing\"") { end(table) } else { (*table).to_owned() }).collect();
        fs::write(office.config(), tables.join("[[issuer]]")).unwrap();
    };
    let order = approved(&office, "other");
    with("[\"br-7.1.2.7-tls-server-short-lived\"]");
    let said = office.refused(&order);
    for wanted in [
        "issuer 'issuing': found the profile",
        "profile.toml (",
        "wanted one of its issuance.profiles: br-7.1.2.7-tls-server-short-lived (",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
    assert!(fail(&mut office.order("check", &[&order])).contains("found the profile"));
    // By content: the order's file is a copy of the shipped one.
    with("[\"br-7.1.2.7-tls-server-short-lived\", \"br-7.1.2.7-tls-server\"]");
    assert!(succeed(&mut office.run_order(&order)).contains("issued 1 certificates"));
    // And by a file: an octet more in it is another profile.
    fs::copy(office.path("profile.toml"), office.path("allowed.toml")).unwrap();
    with("[\"allowed.toml\"]");
    let order = office.write_issue("file", "one.jsonl", "renewal = true\n");
    office.approve(&order, &["baba"]);
    fs::write(office.path("allowed.toml"), fs::read_to_string(office.path("profile.toml")).unwrap() + "\n").unwrap();
    assert!(office.refused(&order).contains("allowed.toml ("));
    fs::copy(office.path("profile.toml"), office.path("allowed.toml")).unwrap();
    succeed(&mut office.run_order(&order));
}

#[test]
fn s1_5_a_batch_makes_neither_cas_nor_their_responders() {
    let (_directory, office) = office();
    let leaf = fs::read_to_string(office.path("profile.toml")).unwrap();
    let shipped = |name: &str| fs::read_to_string(crate::orders::profiles().join(format!("{name}.toml"))).unwrap();
    let profiles = [
        ("ca", shipped("br-7.1.2.6-tls-sub-ca"), "found the kind sub-ca"),
        ("responder", shipped("br-7.1.2.8-ocsp-responder"), "found the kind ocsp-responder"),
        // Called a leaf's, and yet the certificate of somebody who answers for the CA.
        ("disguised", leaf.replace("[\"serverAuth\"]", "[\"serverAuth\", \"OCSPSigning\"]"), "the purpose OCSPSigning"),
    ];
    for (id, profile, found) in profiles {
        fs::write(office.path("profile.toml"), profile).unwrap();
        for kind in ["issue", "issue-with-keys"] {
            let order = if kind == "issue" {
                office.write_issue(&format!("{id}-{kind}"), "one.jsonl", "")
            } else {
                let order =
                    office.write_issue(&format!("{id}-{kind}"), "one.jsonl", "passphrases = \"phrases\"\nkey_algorithm = \"ecdsa-p256\"\n");
                crate::edit(&office, &order, "kind = \"issue\"", "kind = \"issue-with-keys\"");
                order
            };
            office.approve(&order, &["baba", "doi"]);
            for said in [office.refused(&order), fail(&mut office.order("check", &[&order]))] {
                assert!(said.contains("profile.toml: ") && said.contains(found) && said.contains("wanted the kind end-entity"), "{said}");
            }
        }
    }
}

const REQUESTS: usize = 3000;

/// Has an order's certificates made on so many threads.
fn set_threads(office: &Office, config: &str, threads: usize) {
    fs::write(office.config(), config.replace("[registry]", &format!("[signing]\nthreads = {threads}\n\n[registry]"))).unwrap();
}

/// The numbers of the lines that a file of output or of rejections is about.
fn numbers(office: &Office, file: &str, of: impl Fn(&serde_json::Value) -> u64) -> Vec<u64> {
    fs::read_to_string(office.path(file)).unwrap().lines().map(|line| of(&serde_json::from_str(line).unwrap())).collect()
}

#[test]
fn s3_1_an_order_that_stops_issues_exactly_what_stands_before_the_first_rejected() {
    let ((_directory, office), mut random) = (office(), Random::seeded("stop"));
    let config = fs::read_to_string(office.config()).unwrap();
    for (number, threads) in [1, 2, 3, 5, 8, 8, 8, 8].into_iter().enumerate() {
        set_threads(&office, &config, threads);
        let (id, file) = (format!("stop-{number}"), format!("stop-{number}.jsonl"));
        office.write_requests(&file, (0..REQUESTS).map(|n| format!("host-{n}.{id}.example.com")));
        let good: Vec<String> = fs::read_to_string(office.path(&file)).unwrap().lines().map(str::to_owned).collect();
        // No request at all, a name that no profile has, a key that an earlier line has: found in three different places.
        let mut lines = good.clone();
        let places: Vec<usize> = (0..3).map(|_| 1 + random.below(REQUESTS - 1)).collect();
        lines[places[0]] = "what?".to_owned();
        lines[places[1]] = serde_json::json!({ "csr": request_made_here("not_a_host.example.com") }).to_string();
        lines[places[2]] = good[0].clone();
        fs::write(office.path(&file), lines.join("\n")).unwrap();
        let (first, before) = (*places.iter().min().unwrap(), list(&office.config(), "issuing").len());
        let order = office.write_issue(&id, &file, "on_rejection = \"stop\"\n");
        office.approve(&order, &["baba"]);
        let said = succeed(&mut office.run_order(&order));
        let wanted = format!("issued {first} certificates, {first} are written, 1 requests were rejected (rejected.jsonl); stopped");
        assert!(said.contains(&wanted), "{threads} threads, {places:?}: {said}");
        assert_eq!(list(&office.config(), "issuing").len(), before + first, "{threads} threads");
        let written = numbers(&office, &format!("out-{id}/certificates-000000001.jsonl"), |line| line["line"].as_u64().unwrap());
        assert_eq!(written, (1..=first as u64).collect::<Vec<_>>());
        let rejected = numbers(&office, &format!("out-{id}/rejected.jsonl"), |line| line["item"].as_u64().unwrap());
        assert_eq!(rejected, [first as u64], "{threads} threads");
        if number == 7 {
            corrected(&office, &good, first);
        }
    }
}

/// What was rejected is mended: an order for all of it issues what is missing, and says of the rest that it has been issued.
fn corrected(office: &Office, good: &[String], first: usize) {
    let before = list(&office.config(), "issuing").len();
    fs::write(office.path("mended.jsonl"), good.join("\n")).unwrap();
    let order = office.write_issue("mended", "mended.jsonl", "");
    office.approve(&order, &["baba"]);
    let said = succeed(&mut office.run_order(&order));
    let missing = REQUESTS - first;
    assert!(said.contains(&format!("issued {missing} certificates, {missing} are written, {first} requests were rejected")), "{said}");
    assert_eq!(list(&office.config(), "issuing").len(), before + missing);
    let mut rejected = numbers(office, "out-mended/rejected.jsonl", |line| {
        assert_eq!(line["rule"], "shared-key", "{line}");
        line["item"].as_u64().unwrap()
    });
    rejected.sort_unstable();
    assert_eq!(rejected, (0..first as u64).collect::<Vec<_>>());
}

#[test]
fn s3_1_an_order_may_ask_for_a_shorter_validity_and_for_no_other() {
    let (_directory, office) = office();
    let order = office.write_issue("short", "one.jsonl", "valid_for = \"10d\"\n");
    let mut show = crate::common::kakunin(["order", "show", &order, "--operators", "operators.toml"]);
    assert!(succeed(show.current_dir(&office.directory)).contains("; each is valid for 10d from its issuance"));
    office.approve(&order, &["baba"]);
    let before = Timestamp::from_unix(Timestamp::now().unix()).unwrap();
    succeed(&mut office.run_order(&order));
    let line = fs::read_to_string(office.path("out-short/certificates-000000001.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let certificate = CertificateInfo::from_pem(line["certificate"].as_str().unwrap().as_bytes()).unwrap();
    assert!(certificate.not_before >= before, "nothing is dated back");
    assert_eq!(certificate.not_after.since(certificate.not_before).as_secs(), 10 * 86_400 - 1, "the last second counts");
    for (id, period) in [("longer", "1y"), ("longest", "100y")] {
        let order = office.write_issue(id, "one.jsonl", &format!("renewal = true\nvalid_for = \"{period}\"\n"));
        office.approve(&order, &["baba"]);
        let said = office.refused(&order);
        assert!(said.contains("found ") && said.contains("wanted "), "{said}");
        assert!(said.contains("at most") || said.contains("within the issuer's"), "{said}");
        assert!(fail(&mut office.order("check", &[&order])).contains("wanted "));
    }
}

#[test]
fn s3_1_a_key_on_one_of_debians_lists_is_rejected() {
    let (_directory, office) = office();
    // As openssl-vulnkey(1) and the package openssl-blacklist have it: half of the SHA-1 of what `openssl rsa -modulus` prints.
    let script = "mkdir requests && openssl req -new -newkey rsa:2048 -nodes -keyout weak.pem -subj /CN=weak.example.com \
                  -addext subjectAltName=DNS:weak.example.com -out requests/weak.csr 2>/dev/null\n\
                  echo '# RSA 2048' > blacklist\n\
                  openssl rsa -in weak.pem -noout -modulus | sha1sum | cut -c 21-40 >> blacklist\n";
    succeed(tool("bash").args(["-euo", "pipefail", "-c", script]).current_dir(&office.directory));
    let config = fs::read_to_string(office.config()).unwrap();
    fs::write(office.config(), config.replace("[registry]", "[issuing]\nblocked_keys = \"blacklist\"\n\n[registry]")).unwrap();
    let run = |id: &str| {
        let order = office.write_issue(id, "requests", "");
        office.approve(&order, &["baba"]);
        succeed(&mut office.run_order(&order))
    };
    assert!(run("weak").contains("issued 0 certificates, 0 are written, 1 requests were rejected"));
    let rejected = fs::read_to_string(office.path("out-weak/rejected.jsonl")).unwrap();
    assert!(rejected.contains("known-weak-key") && rejected.contains("weak.csr"), "{rejected}");
    fs::write(office.config(), config).unwrap();
    assert!(run("without").contains("issued 1 certificates"), "nothing else stands against it");
}

#[test]
fn p3_an_order_is_run_by_one_process_at_a_time() {
    let (_directory, office) = office();
    office.write_requests("many.jsonl", (0..4000).map(|n| format!("host-{n}.example.com")));
    let order = office.write_issue("twice", "many.jsonl", "");
    office.approve(&order, &["baba"]);
    let before = list(&office.config(), "issuing").len();
    let mut first = Process::start(&mut office.run_order(&order));
    until(PATIENCE, "the first one", || office.log().iter().any(|entry| entry["event"] == "begun").then_some(()));
    let said = fail(&mut office.run_order(&order));
    assert!(said.contains("order twice: another process runs it"), "{said}");
    // Another one neither: each would certify keys and subjects that it does not see the other certify.
    let other = approved(&office, "other");
    let said = fail(&mut office.run_order(&other));
    assert!(said.contains("order other: another process runs the batch 'twice'"), "{said}");
    assert!(first.wait(PATIENCE).unwrap().success(), "{}", first.stderr());
    assert_eq!(list(&office.config(), "issuing").len(), before + 4000);
    assert!(office.refused(&order).contains("run before"));
}

#[test]
fn what_is_no_order_is_said_to_be_none() {
    let (_directory, office) = office();
    let said = |text: &[u8]| {
        fs::write(office.path("bad.toml"), text).unwrap();
        let said = fail(&mut office.run_order("bad.toml"));
        assert!(said.contains("bad.toml") && said.len() < 4000, "{said}");
        said
    };
    assert!(said(&[0xff, 0xfe, 0]).contains("not UTF-8"));
    assert!(said(&vec![b'#'; (1 << 20) + 1]).contains("more than 1048576 octets"));
    said(format!("id = {}", "[".repeat(500_000)).as_bytes());
    said(format!("{} = 1", "a.".repeat(200_000) + "a").as_bytes());
    said(b"");
    let order = office.write_issue("good", "one.jsonl", "");
    let good = fs::read_to_string(office.path(&order)).unwrap();
    said(good.replace("\"issuing\"", "[\"issuing\"]").as_bytes());
    said(good.replace("created = \"20", "created = \"x").as_bytes());
    said((good.clone() + "[step]\n").as_bytes());
    assert!(said(good.replace("id = \"good\"", "id = \"../good\"").as_bytes()).contains("found '../good'"));
    // An output that is no directory, and inputs that never end.
    for (id, from, to, wanted) in [
        ("output", "output = \"out-output\"", "output = \"one.jsonl\"", "one.jsonl"),
        ("gone", "lines = \"one.jsonl\"", "lines = \"gone.jsonl\"", "gone.jsonl"),
        (
            "apart",
            "kind = \"issue\"",
            "passphrases = \"other/../out-apart/x\"\nkey_algorithm = \"ecdsa-p256\"\nkind = \"issue-with-keys\"",
            "wanted a directory apart from output (",
        ),
        (
            "around",
            "output = \"out-around\"\n",
            "output = \"hand/keys\"\npassphrases = \"hand\"\nkey_algorithm = \"ecdsa-p256\"\n",
            "wanted a directory apart from output (",
        ),
    ] {
        let order = office.write_issue(id, "one.jsonl", "");
        crate::edit(&office, &order, from, to);
        if id == "around" {
            crate::edit(&office, &order, "kind = \"issue\"", "kind = \"issue-with-keys\"");
        }
        office.approve(&order, &["baba", "doi"]);
        let said = fail(&mut office.run_order(&order));
        let end = if id == "gone" { "run it again" } else { "refused:" };
        assert!(said.contains(wanted) && said.contains(end), "{said}");
    }
    let endless = fs::File::create(office.path("endless.jsonl")).unwrap();
    endless.set_len(1 << 40).unwrap();
    succeed(tool("mkfifo").arg(office.path("pipe")));
    fs::create_dir(office.path("pipes")).unwrap();
    fs::rename(office.path("pipe"), office.path("pipes/pipe")).unwrap();
    let digest = |name: &str| fail(crate::common::kakunin(["order", "digest", name]).current_dir(&office.directory));
    assert!(digest("endless.jsonl").contains("line 1: found more than 65536 octets"));
    assert!(digest("pipes").contains("pipe: found something else, wanted a file"));
    assert!(digest("pipes/pipe").contains("pipe: found something else, wanted a file"));
    // Nobody waits at a pipe in the place of an order, an approval or an operator's key.
    let pipe = office.path("pipes/pipe");
    assert!(fail(&mut office.run_order("pipes/pipe")).contains("pipe: found something else, wanted a file"));
    fs::rename(&pipe, office.path("good.toml.baba.approval")).unwrap();
    assert!(fail(&mut office.run_order("good.toml")).contains("baba.approval: found something else, wanted a file"));
    // A directory whose files have no end, or no name that a certificate's file can have.
    let odd = office.path("odd");
    fs::create_dir(&odd).unwrap();
    std::os::unix::fs::symlink("loop", odd.join("loop")).unwrap();
    assert!(digest("odd").contains("odd/loop"));
    fs::rename(odd.join("loop"), office.path("loop")).unwrap();
    fs::write(odd.join("x".repeat(244)), "").unwrap();
    assert!(digest("odd").contains("a name of 244 octets, wanted at most 243"));
}

#[test]
fn s4_9_what_an_order_reads_and_what_it_writes_are_in_places_of_their_own() {
    let (_directory, office) = office();
    fs::create_dir(office.path("in")).unwrap();
    fs::write(office.path("in/www"), request_made_here("www.example.org")).unwrap();
    std::os::unix::fs::symlink("in", office.path("link")).unwrap();
    std::os::unix::fs::symlink("hand/deep", office.path("phrases")).unwrap();
    fs::create_dir_all(office.path("hand/deep")).unwrap();
    let keys = |output: &str, phrases: &str| {
        format!("output = \"{output}\"\npassphrases = \"{phrases}\"\nkey_algorithm = \"ecdsa-p256\"\nkind = \"issue-with-keys\"\n")
    };
    let directory = |output: &str| format!("output = \"{output}\"\nkind = \"issue\"\n");
    let orders = [
        ("in", directory("in/out"), "output: found ", "apart from inputs ("),
        ("in", directory("hand/../in"), "output: found ", "apart from inputs ("),
        ("in", directory("link/new/../out"), "output: found ", "apart from inputs ("),
        ("one.jsonl", keys("hand", "hand/new/phrases"), "passphrases: found ", "apart from output ("),
        ("one.jsonl", keys("hand/keys", "new/../hand"), "passphrases: found ", "apart from output ("),
        ("one.jsonl", keys("hand/deep/keys", "phrases"), "passphrases: found ", "apart from output ("),
    ];
    for (number, (inputs, places, found, wanted)) in orders.into_iter().enumerate() {
        let id = format!("order-{number}");
        let order = office.write_issue(&id, inputs, "");
        crate::edit(&office, &order, &format!("output = \"out-{id}\"\n"), "");
        crate::edit(&office, &order, "kind = \"issue\"\n", &places);
        office.approve(&order, &["baba", "doi"]);
        for said in [fail(&mut office.order("check", &[&order])), office.refused(&order)] {
            assert!(said.lines().any(|line| line.contains(found) && line.contains(wanted)), "{number}: {said}");
        }
    }
    assert_eq!(fs::read_dir(office.path("in")).unwrap().count(), 1, "nothing was made");
    assert_eq!(fs::read_dir(office.path("hand")).unwrap().count(), 1, "nothing was made");
}

#[test]
fn s2_2_s3_1_requests_that_are_written_oddly_are_read_and_odd_names_are_rejected() {
    let (_directory, office) = office();
    let directory = office.path("in");
    fs::create_dir(&directory).unwrap();
    let write = |name: &str, host: &str, change: &dyn Fn(String) -> String| {
        fs::write(directory.join(name), change(request_made_here(host))).unwrap();
    };
    // Names of files that others here have, too, and text as other systems write it.
    write("rejected", "a.example.com", &|pem| pem);
    write("rejected.jsonl", "b.example.com", &|pem| pem.replace('\n', "\r\n"));
    write("a.pem.pending", "c.example.com", &|pem| format!("\u{feff}{pem}and more\n"));
    write(&"x".repeat(243), "xn--wgv71a119e.example.com", &|pem| pem.replace("CERTIFICATE", "NEW CERTIFICATE"));
    for (name, host) in
        [("label", "ab--cd.example.com"), ("punycode", "xn--0.example.com"), ("local", "server.local"), ("onion", "abc.onion")]
    {
        write(name, host, &|pem| pem);
    }
    write("two", "d.example.com", &|pem| format!("{pem}{pem}"));
    fs::write(directory.join("empty"), "").unwrap();
    let order = office.write_issue("odd", "in", "");
    office.approve(&order, &["baba"]);
    assert!(succeed(&mut office.run_order(&order)).contains("issued 4 certificates, 4 are written, 6 requests were rejected"));
    for name in ["rejected", "rejected.jsonl", "a.pem.pending", &"x".repeat(243)] {
        let pem = fs::read(office.path(&format!("out-odd/{name}.pem"))).unwrap();
        CertificateInfo::from_pem(&pem).unwrap();
    }
    assert_eq!(fs::read_dir(office.path("out-odd")).unwrap().count(), 6, "four certificates, the report, and whose it is");
    let rejected = fs::read_to_string(office.path("out-odd/rejected.jsonl")).unwrap();
    assert_eq!(rejected.matches("(BR 7.1.2.7.12)").count(), 4, "{rejected}");
    assert!(rejected.contains("more than one request") && rejected.contains("neither DER nor text"), "{rejected}");
}

#[test]
fn s3_1_a_key_gets_one_certificate_of_an_order_however_far_apart_its_requests_are() {
    let (_directory, office) = office();
    // So many that the first are registered before the last are looked at.
    office.write_requests("twice.jsonl", (0..9000).map(|n| format!("host-{n}.example.com")));
    let lines: Vec<String> = fs::read_to_string(office.path("twice.jsonl")).unwrap().lines().map(str::to_owned).collect();
    let again = [&lines[..], &lines[..3]].concat();
    fs::write(office.path("twice.jsonl"), again.join("\n")).unwrap();
    for (id, more) in [("first", ""), ("second", "renewal = true\n")] {
        let order = office.write_issue(id, "twice.jsonl", more);
        office.approve(&order, &["baba"]);
        let said = succeed(&mut office.run_order(&order));
        assert!(said.contains("issued 9000 certificates, 9000 are written, 3 requests were rejected"), "{said}");
        let mut rejected = numbers(&office, &format!("out-{id}/rejected.jsonl"), |line| {
            assert!(line["rule"] == "shared-key" && line["why"].as_str().unwrap().contains("another request of this order"), "{line}");
            line["item"].as_u64().unwrap()
        });
        rejected.sort_unstable();
        assert_eq!(rejected, [9000, 9001, 9002]);
    }
}

#[test]
fn s3_1_a_subject_in_other_letters_is_the_same_subject() {
    let (_directory, office) = office();
    let profile = fs::read_to_string(office.path("profile.toml")).unwrap();
    fs::write(office.path("profile.toml"), profile.replace("[subject]\n", "[subject]\nunique = true\n")).unwrap();
    let run = |id: &str, hosts: &[&str]| {
        office.write_requests(&format!("{id}.jsonl"), hosts.iter().map(|host| (*host).to_owned()));
        let order = office.write_issue(id, &format!("{id}.jsonl"), "");
        office.approve(&order, &["baba"]);
        let said = succeed(&mut office.run_order(&order));
        (said, fs::read_to_string(office.path(&format!("out-{id}/rejected.jsonl"))).unwrap())
    };
    let (said, rejected) = run("letters", &["www.example.com", "WWW.Example.com", "other.example.com"]);
    assert!(said.contains("issued 2 certificates") && said.contains("1 requests were rejected"), "{said}");
    assert!(rejected.contains("line 2") && rejected.contains("another request of this order has the subject"), "{rejected}");
    let (said, rejected) = run("later", &["wwW.example.com"]);
    assert!(said.contains("issued 0 certificates") && rejected.contains("has the subject already (S3.1)"), "{said} {rejected}");
}
