//! The command line towards somebody who made a mistake: what was found, what is wanted, and where. Nothing is changed, and nothing panics.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::openssl_ca::{OpensslCa, RSA, TakeOver, write_secret};
use common::{Process, Service, demo_command, fail, kakunin, list, run, succeed, text, wait, with_config};
use tempfile::TempDir;

const SUBCOMMANDS: [&str; 11] = ["demo", "serve", "sign", "check", "status", "verify", "list", "revoke", "import", "order", "profile"];

/// A demo that was built and stopped.
struct Stopped {
    directory: TempDir,
}

impl Stopped {
    fn new() -> Stopped {
        let directory = tempfile::tempdir().unwrap();
        Service::demo(directory.path(), &["--certificates", "50", "--revoked", "5"]).stop();
        Stopped { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("kakunin.toml")
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.config(), text.replacen(from, to, 1)).unwrap();
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn every_subcommand_has_help_with_an_example() {
    let overview = succeed(&mut kakunin(["--help"]));
    assert!(succeed(&mut kakunin(["--version"])).starts_with("kakunin "));
    for subcommand in SUBCOMMANDS {
        assert!(overview.contains(&format!("  {subcommand} ")), "{subcommand}: {overview}");
        let help = succeed(&mut kakunin([subcommand, "--help"]));
        assert!(help.contains(&format!("Example: kakunin {subcommand} ")), "{help}");
        assert!(help.contains("Usage: kakunin "), "{help}");
    }
    let unknown = fail(&mut kakunin(["serv"]));
    assert!(unknown.contains("serv"), "{unknown}");
    assert!(fail(&mut kakunin(["serve"])).contains("--config"));
}

#[test]
fn an_unknown_field_and_a_missing_file_are_named() {
    let demo = Stopped::new();
    for subcommand in [&["serve"][..], &["check"], &["status"], &["sign", "--once"]] {
        let absent = fail(kakunin([subcommand, &["--config", "/nonexistent/kakunin.toml"]].concat()).current_dir(demo.directory.path()));
        assert!(absent.contains("/nonexistent/kakunin.toml") && absent.contains("No such file"), "{absent}");
    }
    demo.edit("[registry]", "[registry]\nsqlight = 1");
    for subcommand in [&["serve"][..], &["check"], &["status"], &["sign", "--once"], &["list", "--issuer", "issuing"]] {
        let message = fail(&mut with_config(subcommand[0], &demo.config(), &subcommand[1..]));
        assert!(message.contains("sqlight") && message.contains("kakunin.toml") && message.contains("sqlite"), "{message}");
    }
}

#[test]
fn s3_6_t1_a_value_against_a_rule_is_named_with_the_rule() {
    let demo = Stopped::new();
    demo.edit("[issuer.crl]", "[issuer.ocsp]\nvalidity = \"11d\"\n[issuer.crl]");
    let message = fail(&mut with_config("check", &demo.config(), &[]));
    for part in ["issuer 'issuing'", "ocsp.validity", "11d", "8h to 10d", "T1"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_registry_that_is_missing_or_something_else_is_named_and_left_alone() {
    let demo = Stopped::new();
    fs::remove_file(demo.path("registry.sqlite")).unwrap();
    let commands = [&["serve"][..], &["status"], &["sign", "--once"], &["list", "--issuer", "issuing"], &["check"]];
    for command in commands {
        let output = run(&mut with_config(command[0], &demo.config(), &command[1..]));
        let said = text(&output);
        assert!(!output.status.success() && said.contains("registry.sqlite") && said.contains("does not exist"), "{said}");
        assert!(!demo.path("registry.sqlite").exists(), "{command:?}: never made by accident");
    }
    for content in ["Just some text, and not even short: it goes on for a while so that it could hold a header of a database.\n", ""] {
        fs::write(demo.path("registry.sqlite"), content).unwrap();
        for command in commands {
            let output = run(&mut with_config(command[0], &demo.config(), &command[1..]));
            let said = text(&output);
            assert!(!output.status.success() && said.contains("registry.sqlite"), "{command:?}, {content:?}: {said}");
            assert!(said.contains("not a Kakunin registry"), "{command:?}, {content:?}: {said}");
            assert_eq!(fs::read_to_string(demo.path("registry.sqlite")).unwrap(), content, "{command:?}: left as it was");
        }
    }
}

#[test]
fn s1_4_a_key_that_others_can_read_is_refused_with_what_to_do() {
    let demo = Stopped::new();
    let key = demo.path("keys/issuing.key.pem");
    for (found, commands) in
        [(0o640, &[&["check"][..], &["serve"], &["sign", "--once"]]), (0o604, &[&["check"], &["serve"], &["sign", "--once"]])]
    {
        mode(&key, found);
        for command in commands {
            let output = run(&mut with_config(command[0], &demo.config(), &command[1..]));
            let said = text(&output);
            assert!(!output.status.success(), "{said}");
            for part in ["issuing.key.pem", &format!("{found:04o}"), "0600", "chmod 600"] {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
    }
    mode(&key, 0o600);
    succeed(&mut with_config("check", &demo.config(), &[]));
}

#[test]
fn a_key_of_another_certificate_is_noticed_before_anything_is_signed() {
    let demo = Stopped::new();
    fs::rename(demo.path("keys/issuing.key.pem"), demo.path("keys/kept.pem")).unwrap();
    fs::copy(demo.path("keys/root.key.pem"), demo.path("keys/issuing.key.pem")).unwrap();
    mode(&demo.path("keys/issuing.key.pem"), 0o600);
    for command in [&["check"][..], &["sign", "--once"], &["serve"]] {
        let output = run(&mut with_config(command[0], &demo.config(), &command[1..]));
        let said = text(&output);
        assert!(!output.status.success() && said.contains("issuing") && said.contains("is not the signing key's"), "{said}");
    }
    fs::remove_file(demo.path("keys/issuing.key.pem")).unwrap();
    let said = text(&run(&mut with_config("check", &demo.config(), &[])));
    assert!(said.contains("keys/issuing.key.pem") && said.contains("No such file"), "{said}");
}

#[test]
fn o2_a_ca_under_a_second_name_is_noticed_before_anything_is_signed() {
    let demo = Stopped::new();
    let text_of = fs::read_to_string(demo.config()).unwrap();
    let renamed = text_of.replace("name = \"issuing\"", "name = \"another\"");
    assert_ne!(text_of, renamed);
    fs::write(demo.config(), renamed).unwrap();
    for command in [&["check"][..], &["sign", "--once"], &["serve"]] {
        let output = run(&mut with_config(command[0], &demo.config(), &command[1..]));
        let said = text(&output);
        assert!(!output.status.success() && said.contains("another") && said.contains("registered as 'issuing' already"), "{said}");
    }
}

#[test]
fn s1_4_a_wrong_pin_is_said_to_be_wrong_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let ca = OpensslCa::create(&directory.path().join("ca"), RSA);
    let kakunin = TakeOver::prepare(&directory.path().join("kakunin"), &[&ca]);
    kakunin.import(&ca, "index.txt");
    let pin = kakunin.directory.join("pin");
    fs::remove_file(&pin).unwrap();
    write_secret(&pin, "777123");
    for command in [&["check"][..], &["sign", "--once"], &["serve"]] {
        let output = run(&mut kakunin.command(command[0], &command[1..]));
        let said = text(&output);
        assert!(!output.status.success() && said.contains("wrong PIN") && said.contains("taken over"), "{said}");
        assert!(!said.contains("777123"), "{said}");
    }
    mode(&pin, 0o644);
    let said = text(&run(&mut kakunin.command("check", &[])));
    assert!(said.contains("0644") && said.contains("0600"), "{said}");
    let imported = fail(kakunin.import_command(&ca, "index.txt").args(["--issuer", "nobody"]));
    assert!(imported.contains("nobody") || imported.contains("cannot be used multiple times"), "{imported}");
}

#[test]
fn a_port_in_use_is_named_and_the_service_that_has_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::demo(&directory.path().join("first"), &["--certificates", "20", "--revoked", "2"]);
    let taken = service.ocsp.strip_prefix("http://").unwrap().to_owned();
    for option in ["--listen", "--admin"] {
        let second = directory.path().join(&option[2..]);
        let mut command = kakunin(["demo", "--certificates", "20", "--revoked", "2", "--dir"]);
        command.arg(&second).args([option, &taken, if option == "--listen" { "--admin" } else { "--listen" }, "127.0.0.1:0"]);
        let message = fail(&mut command);
        assert!(message.contains(&taken) && message.contains("in use"), "{message}");
        let made = fs::read_dir(second.join("keys")).map(|entries| entries.count()).unwrap_or(0);
        assert_eq!(made, 0, "nothing is made before the port is taken");
    }
    let message = fail(&mut with_config("serve", &directory.path().join("first/kakunin.toml"), &[]));
    assert!(message.contains(&taken) && message.contains("in use"), "{message}");
    assert_eq!(common::http::get(&service.admin, "/readyz", &[]).status, 200);
    service.stop();
}

#[test]
fn one_process_answers_by_ipv4_and_by_ipv6() {
    let directory = tempfile::tempdir().unwrap();
    Service::demo(directory.path(), &["--certificates", "20", "--revoked", "2"]).stop();
    let config = directory.path().join("kakunin.toml");
    let mut listen = ["listen = [\"127.0.0.1:0\", \"[::1]:0\"]", "listen = \"127.0.0.1:0\""].into_iter();
    let text = fs::read_to_string(&config).unwrap();
    let lines = text.lines().map(|line| if line.starts_with("listen = ") { listen.next().unwrap() } else { line });
    fs::write(&config, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let service = Service::serve(&mut with_config("serve", &config, &[]));
    let urls: Vec<&str> = service.ocsp.split(',').collect();
    assert!(urls.len() == 2 && urls[1].starts_with("http://[::1]:"), "{urls:?}");
    for url in urls {
        assert_eq!(common::http::get(url, "/ca/issuing.cer", &[]).status, 200, "{url}");
    }
    service.stop();
}

#[test]
fn a_demo_that_cannot_be_is_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, wanted) in [
        (&["--certificates", "10", "--revoked", "10"][..], "--revoked"),
        (&["--certificates", "0"], "--certificates"),
        (&["--key-algorithm", "rsa-512"], "rsa-512"),
    ] {
        let message = fail(&mut demo_command(&directory.path().join("demo"), arguments));
        assert!(message.contains(wanted), "{message}");
    }
    assert!(!directory.path().join("demo/kakunin.toml").exists());
}

#[test]
fn an_issuer_that_there_is_not_is_answered_with_those_there_are() {
    let demo = Stopped::new();
    let message = fail(&mut with_config("list", &demo.config(), &["--issuer", "nobody"]));
    assert!(message.contains("nobody") && message.contains("root") && message.contains("issuing"), "{message}");
}

#[test]
fn list_into_head_ends_quietly() {
    let demo = Stopped::new();
    // More than the buffer of a pipe holds, so that the reader is gone before the end.
    Service::demo(demo.directory.path(), &["--certificates", "2000", "--revoked", "5"]).stop();
    let mut command = with_config("list", &demo.config(), &["--issuer", "issuing"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"serial\":"), "{first}");
    let status = wait(&mut child, common::PATIENCE).expect("it ends when its reader does");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    let piped = run(common::tool("bash").args([
        "-o",
        "pipefail",
        "-c",
        &format!("{:?} list --config {:?} --issuer issuing | head -n 3", env!("CARGO_BIN_EXE_kakunin"), demo.config()),
    ]));
    assert!(
        piped.status.success() && piped.stdout.iter().filter(|b| **b == b'\n').count() == 3 && piped.stderr.is_empty(),
        "{}",
        text(&piped)
    );
}

#[test]
fn s1_9_reading_commands_work_while_the_service_runs() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::demo(directory.path(), &["--certificates", "50", "--revoked", "5"]);
    let config = directory.path().join("kakunin.toml");
    let mut commands: Vec<Process> = (0..8).map(|_| Process::start(&mut with_config("list", &config, &["--issuer", "issuing"]))).collect();
    for command in &mut commands {
        assert!(command.wait(common::PATIENCE).is_some_and(|status| status.success()), "{}", command.stderr());
    }
    assert_eq!(list(&config, "issuing").len(), 50);
    let signed = succeed(&mut with_config("sign", &config, &["--once"]));
    assert!(signed.contains("signed 0 responses"), "{signed}");
    service.stop();
}
