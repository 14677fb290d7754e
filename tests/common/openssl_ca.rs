//! A CA that is run with `openssl ca`, its keys on a SoftHSM2 token: what an operator has who comes to Kakunin from there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, run, succeed, text, tool, with_config};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const PIN: &str = "271828";

/// How a CA is made.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in `kakunin.toml`.
    pub name: &'static str,
    /// Options of `openssl genpkey`.
    pub key: &'static [&'static str],
    /// Random serial numbers, instead of 1000, 1001, ….
    pub random_serials: bool,
    /// CRL partitions named by its certificates; 0: they name the full CRL.
    pub partitions: u32,
    /// Whether an OCSP responder with a key of its own signs.
    pub delegated: bool,
}

pub const RSA: Kind = Kind {
    name: "rsa",
    key: &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    random_serials: false,
    partitions: 0,
    delegated: false,
};

pub const P256: Kind = Kind {
    name: "p256",
    key: &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"],
    random_serials: true,
    partitions: 2,
    delegated: true,
};

/// The reasons with which certificates are revoked, in the spelling of `openssl ca -crl_reason`.
pub const REASONS: [&str; 4] = ["keyCompromise", "superseded", "cessationOfOperation", "unspecified"];

/// A CA in a directory, with everything that `openssl ca` keeps.
pub struct OpensslCa {
    pub kind: Kind,
    pub directory: PathBuf,
    /// Certificate files in the order of issuance.
    pub issued: Vec<PathBuf>,
    /// Those that are revoked, and why.
    pub revoked: Vec<(PathBuf, &'static str)>,
    /// The number of the last CRL that it issued itself.
    pub last_crl_number: u64,
}

impl OpensslCa {
    /// Makes the CA with twelve certificates: one has expired, four are revoked, one CRL was published.
    pub fn create(directory: &Path, kind: Kind) -> OpensslCa {
        fs::create_dir_all(directory.join("newcerts")).unwrap();
        let mut ca = OpensslCa { kind, directory: directory.to_owned(), issued: Vec::new(), revoked: Vec::new(), last_crl_number: 0 };
        ca.write("index.txt", "");
        ca.write("crlnumber", "01A0\n");
        ca.write("serial", "1000\n");
        ca.write("openssl.cnf", &ca.configuration());
        ca.new_key("ca", kind.key);
        let subject = format!("/C=JP/O=Taken Over/CN=CA {}", kind.name);
        ca.openssl(&["req", "-x509", "-new", "-config", "openssl.cnf", "-extensions", "ca_extensions", "-key", "ca.key.pem"], |command| {
            command.args(["-days", "3650", "-subj", &subject, "-out", "ca.pem"])
        });
        ca.new_key("leaf", P256.key);
        if kind.delegated {
            ca.new_key("ocsp", kind.key);
            ca.issue("ocsp", "responder", "ocsp.key.pem", &["-days", "365"]);
        }
        ca.issue("expired", "leaf_0", "leaf.key.pem", &["-startdate", "20240101000000Z", "-enddate", "20240201000000Z"]);
        for number in 1..12 {
            ca.issue(&format!("leaf{number}"), &format!("leaf_{}", number % 2), "leaf.key.pem", &["-days", "90"]);
        }
        ca.openssl(&["ca", "-config", "openssl.cnf", "-updatedb"], |command| command);
        for (number, reason) in (3..).zip(REASONS) {
            ca.revoke(ca.leaf(number), reason);
        }
        ca.openssl(&["ca", "-config", "openssl.cnf", "-gencrl", "-out", "old.crl"], |command| command);
        ca.last_crl_number = 0x1a0;
        ca
    }

    /// The file of one of the certificates `leaf1` to `leaf11`.
    pub fn leaf(&self, number: usize) -> PathBuf {
        self.directory.join(format!("leaf{number}.pem"))
    }

    /// `openssl ca -revoke`.
    pub fn revoke(&mut self, certificate: PathBuf, reason: &'static str) {
        let file = certificate.to_str().unwrap().to_owned();
        self.openssl(&["ca", "-config", "openssl.cnf", "-revoke", &file, "-crl_reason", reason], |command| command);
        self.revoked.push((certificate, reason));
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.join(name)).unwrap()
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.directory.join(name), content).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn issue(&mut self, name: &str, section: &str, key: &str, validity: &[&str]) {
        let (request, certificate) = (format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/C=JP/CN={name}.example");
        self.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", key, "-subj", &subject, "-out", &request], |command| command);
        self.openssl(&["ca", "-config", "openssl.cnf", "-batch", "-notext", "-extensions", section, "-in", &request], |command| {
            command.args(["-out", &certificate]).args(validity)
        });
        self.issued.push(self.path(&certificate));
    }

    fn new_key(&self, name: &str, options: &[&str]) {
        self.openssl(&["genpkey", "-out", &format!("{name}.key.pem")], |command| command.args(options));
    }

    fn openssl(&self, arguments: &[&str], more: impl Fn(&mut Command) -> &mut Command) {
        let mut command = tool("openssl");
        command.current_dir(&self.directory).args(arguments);
        let output = run(more(&mut command));
        assert!(output.status.success(), "{command:?}: {}", text(&output));
    }

    fn configuration(&self) -> String {
        let name = self.kind.name;
        let serials = if self.kind.random_serials { "rand_serial = yes" } else { "serial = serial" };
        let point = |n: u32| match self.kind.partitions {
            0 => format!("URI:http://pki.example/crl/{name}.crl"),
            _ => format!("URI:http://pki.example/crl/{name}/{n}.crl"),
        };
        let leaf = |n: u32| {
            format!(
                "[leaf_{n}]\nbasicConstraints = critical,CA:false\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = serverAuth\n\
                 subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\nauthorityInfoAccess = OCSP;URI:http://pki.example/ocsp\n\
                 crlDistributionPoints = {}\n",
                point(n)
            )
        };
        format!(
            "[ca]\ndefault_ca = this\n[this]\ndir = .\ndatabase = index.txt\nnew_certs_dir = newcerts\ncrlnumber = crlnumber\n{serials}\n\
             certificate = ca.pem\nprivate_key = ca.key.pem\ndefault_md = sha256\ndefault_days = 90\ndefault_crl_days = 7\npolicy = anything\n\
             unique_subject = no\n[anything]\ncountryName = optional\ncommonName = supplied\n[req]\ndistinguished_name = name\nprompt = no\n[name]\n\
             [ca_extensions]\nbasicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign,cRLSign,digitalSignature\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n\
             [responder]\nkeyUsage = critical,digitalSignature\nextendedKeyUsage = OCSPSigning\nnoCheck = ignored\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n{}{}",
            leaf(0),
            leaf(1)
        )
    }
}

/// A directory in which Kakunin takes over CAs whose keys are on a token of its own.
pub struct TakeOver {
    pub directory: PathBuf,
    pub config: PathBuf,
}

impl TakeOver {
    /// Puts the keys of the CAs on a new token and writes `kakunin.toml`.
    pub fn prepare(directory: &Path, cas: &[&OpensslCa]) -> TakeOver {
        assert!(Path::new(MODULE).exists(), "SoftHSM2 is missing: run tests/run, it installs what the tests need");
        let this = TakeOver { directory: directory.to_owned(), config: directory.join("kakunin.toml") };
        fs::create_dir_all(directory.join("tokens")).unwrap();
        let tokens =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", directory.join("tokens").display());
        fs::write(this.softhsm(), tokens).unwrap();
        this.util(&["--init-token", "--free", "--label", "taken over", "--pin", PIN, "--so-pin", "31415926"]);
        write_secret(&directory.join("pin"), PIN);
        let mut toml = format!(
            "base_url = \"http://pki.example\"\n[registry]\nsqlite = \"registry.sqlite\"\n\
             [responder]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[token]]\nname = \"hsm\"\nmodule = \"{MODULE}\"\nlabel = \"taken over\"\npin_file = \"pin\"\n"
        );
        for (number, ca) in (1..).zip(cas) {
            toml += &this.issuer(number, ca);
        }
        fs::write(&this.config, toml).unwrap();
        this
    }

    fn issuer(&self, number: u32, ca: &OpensslCa) -> String {
        let Kind { name, partitions, delegated, .. } = ca.kind;
        let key = |file: &str, label: &str, id: &str| {
            let path = ca.path(file);
            self.util(&["--import", path.to_str().unwrap(), "--token", "taken over", "--label", label, "--id", id, "--pin", PIN]);
        };
        key("ca.key.pem", &format!("{name} CA"), &format!("{number:02}"));
        let mut toml = format!(
            "[[issuer]]\nname = \"{name}\"\ncertificate = \"{}\"\nkey = {{ token = \"hsm\", label = \"{name} CA\" }}\n",
            ca.path("ca.pem").display()
        );
        if delegated {
            key("ocsp.key.pem", &format!("{name} OCSP"), &format!("{number:02}0c"));
            toml += &format!(
                "[issuer.responder]\ncertificate = \"{}\"\nkey = {{ token = \"hsm\", id = \"{number:02}0c\" }}\n",
                ca.path("ocsp.pem").display()
            );
        }
        toml + &format!("[issuer.crl]\npartitions = {partitions}\n")
    }

    fn softhsm(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }

    fn util(&self, arguments: &[&str]) {
        succeed(tool("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", self.softhsm()));
    }

    /// A subcommand, with the token within its reach.
    pub fn command(&self, subcommand: &str, arguments: &[&str]) -> Command {
        let mut command = with_config(subcommand, &self.config, arguments);
        command.env("SOFTHSM2_CONF", self.softhsm());
        command
    }

    /// `kakunin import` of what `openssl ca` keeps, with another index where one is given.
    pub fn import_command(&self, ca: &OpensslCa, index: &str) -> Command {
        let mut command = self.command("import", &["--json", "--issuer", ca.kind.name, "--openssl-index"]);
        command.arg(ca.path(index)).arg("--certificates").arg(ca.path("newcerts")).arg("--openssl-crlnumber").arg(ca.path("crlnumber"));
        command
    }

    /// Imports; what was added, newly revoked and unchanged.
    pub fn import(&self, ca: &OpensslCa, index: &str) -> (u64, u64, u64) {
        let report: serde_json::Value = serde_json::from_str(&succeed(&mut self.import_command(ca, index))).unwrap();
        let number = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{report}: no {name}"));
        (number("added"), number("revoked"), number("unchanged"))
    }

    pub fn serve(&self) -> Service {
        Service::serve(&mut self.command("serve", &[]))
    }
}

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
