//! Names that a publicly trusted certificate may have: such as mean the same host to everybody (BR 4.2.2, 7.1.2.7.12).
//!
//! Pure, and by rules that stand in RFCs. Whether a top-level domain is there today, and whether the applicant has the name, is for the RA to find out. What
//! is kept for documentation and tests (RFC 2606, 5737, 3849, 9637) passes: it is nobody's, and whoever tries a profile needs names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Finding;
use crate::issuance::AlternativeName;

const NAMES: &str = "BR 7.1.2.7.12";

/// Domains that are in nobody's public DNS, or are nobody's hosts: RFC 6761, 6762, 7686, 8375, 9476, ICANN's `internal`, and the zones of addresses (3172).
const SPECIAL: [&str; 9] = ["alt", "home.arpa", "in-addr.arpa", "internal", "invalid", "ip6.arpa", "local", "localhost", "onion"];

/// What stands against names in a certificate of a publicly trusted CA.
pub(super) fn check(names: &[AlternativeName<'_>]) -> Result<(), Finding> {
    names.iter().try_for_each(|name| match name {
        AlternativeName::Dns(name) => check_domain(name),
        AlternativeName::Ip(address) if is_public(address) => Ok(()),
        AlternativeName::Ip(address) => Err(Finding::error(NAMES, "iPAddress", address, "an address of the public Internet")),
    })
}

fn check_domain(name: &str) -> Result<(), Finding> {
    let lower = name.to_ascii_lowercase();
    let is_below = |domain: &&&str| lower.strip_suffix(**domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if let Some(domain) = SPECIAL.iter().find(is_below) {
        return Err(Finding::error(NAMES, "dNSName", format!("'{name}'"), format!("a name of the public DNS: nobody's is below {domain}")));
    }
    if let Some(label) = lower.split('.').find(|label| !is_public_label(label)) {
        let wanted = "labels without '--' in third place, or such as begin with xn-- and go on in Punycode";
        return Err(Finding::error(NAMES, "dNSName", format!("'{name}' with the label '{label}'"), wanted));
    }
    Ok(())
}

/// A P-Label, or an LDH label that is not reserved (RFC 5890 2.3.1).
fn is_public_label(label: &str) -> bool {
    match label.strip_prefix("xn--") {
        Some(punycode) => idna::punycode::decode_to_string(punycode).is_some_and(|text| !text.is_empty() && !text.is_ascii()),
        None => label.as_bytes().get(2..4) != Some(b"--"),
    }
}

/// Not in IANA's registries of special-purpose addresses (RFC 6890).
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !is_special_v4(*address),
        IpAddr::V6(address) => !is_special_v6(*address),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let assignments = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
    let benchmarks = a == 198 && b & 0xfe == 18;
    let by_use = address.is_private() || address.is_loopback() || address.is_link_local();
    // 0.0.0.0/8 is this network; multicast and everything behind it is nobody's host.
    by_use || shared || assignments || benchmarks || a == 0 || a >= 224
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let is_global_unicast = a & 0xe000 == 0x2000;
    let assignments = a == 0x2001 && b < 0x0200;
    !is_global_unicast || assignments || a == 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> bool {
        check(&[AlternativeName::Dns("www.example.com"), AlternativeName::Dns(name)]).is_ok()
    }

    #[test]
    fn s2_2_labels_are_p_labels_or_not_reserved() {
        for name in
            ["example.com", "*.example.com", "xn--wgv71a119e.example.com", "XN--WGV71A119E.example.com", "a--b.example.com", "a-b--c.jp"]
        {
            assert!(dns(name), "{name}");
        }
        for name in ["ab--cd.example.com", "xn--0.example.com", "xn--.example.com", "xn--abc-.example.com", "www.xn--0.example.com"] {
            assert!(!dns(name), "{name}");
        }
    }

    #[test]
    fn s2_2_names_that_are_not_in_the_public_dns_are_no_names() {
        for name in ["server.local", "a.b.INTERNAL", "x.onion", "1.0.0.127.in-addr.arpa", "router.home.arpa"] {
            assert!(!dns(name), "{name}");
        }
        for name in ["local.example.com", "mylocal.jp", "as112.arpa", "*.test", "www.example"] {
            assert!(dns(name), "{name}");
        }
    }

    #[test]
    fn s2_2_addresses_are_those_of_the_public_internet() {
        let ip = |text: &str| check(&[AlternativeName::Ip(text.parse().unwrap())]).is_ok();
        for text in [
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "192.0.2.1",
            "2001:200::1",
            "2400:cb00::1",
            "2001:db8::1",
        ] {
            assert!(ip(text), "{text}");
        }
        let special = [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.8",
            "192.88.99.1",
            "192.168.0.1",
            "198.19.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "64:ff9b::1",
            "100::1",
            "2001:1ff::1",
            "2002::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ];
        for text in special {
            assert!(!ip(text), "{text}");
        }
    }
}
