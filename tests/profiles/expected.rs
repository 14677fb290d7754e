//! What the policies say: each table written down from its document, and not from the profile.
//!
//! Where a table leaves something open (criticality in S3.3, most of S5.7), the row says what RFC 5280, RFC 3161 or rule P1 wants.

/// An attribute of the subject: OID, text, DER tag (12: UTF8String, 19: PrintableString).
pub type Attribute = (&'static str, &'static str, u8);
/// An extension: OID, critical, value as `tables::describe` writes it.
pub type Extension = (&'static str, bool, &'static str);

/// One certificate.
pub struct Expected {
    pub profile: &'static str,
    /// OID of the signature algorithm.
    pub signature: &'static str,
    /// Bits of the RSA key that is certified.
    pub key: u32,
    pub subject: &'static [Attribute],
    pub not_before: &'static str,
    pub not_after: &'static str,
    pub extensions: &'static [Extension],
}

const SHA1_RSA: &str = "1.2.840.113549.1.1.5";
const SHA256_RSA: &str = "1.2.840.113549.1.1.11";
const SHA384_RSA: &str = "1.2.840.113549.1.1.12";

const C: &str = "2.5.4.6";
const O: &str = "2.5.4.10";
const OU: &str = "2.5.4.11";
const CN: &str = "2.5.4.3";

const AKI: &str = "2.5.29.35";
const SKI: &str = "2.5.29.14";
const KEY_USAGE: &str = "2.5.29.15";
const EXT_KEY_USAGE: &str = "2.5.29.37";
const POLICIES: &str = "2.5.29.32";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const ALT_NAME: &str = "2.5.29.17";
const CRL_POINTS: &str = "2.5.29.31";
const AIA: &str = "1.3.6.1.5.5.7.1.1";
const NO_CHECK: &str = "1.3.6.1.5.5.7.48.1.5";
const NO_REV_AVAIL: &str = "2.5.29.56";
const NETSCAPE_CERT_TYPE: &str = "2.16.840.1.113730.1.1";

/// "SHA-1 of the CA's public key, 160 bits", "SHA-1 of the subject's public key, 160 bits".
const IDENTIFIERS: [Extension; 2] = [(AKI, false, "SHA-1 of the issuer's key"), (SKI, false, "SHA-1 of the subject's key")];

const TSA: &[Attribute] = &[(C, "JP", 19), (O, "Example K.K.", 12), (CN, "Example TSA-1", 12)];
const TSA_USAGE: [Extension; 2] = [(KEY_USAGE, true, "digitalSignature"), (EXT_KEY_USAGE, true, "1.3.6.1.5.5.7.3.8")];

/// Tables 7.1.2-1, 7.1.2-2, 7.1.2-4 and 7.1.3-1 to 7.1.3-3 of the SECOM CP.
pub const SECOM_TSA: [Expected; 4] = [
    Expected {
        profile: "secom-7.1.2-1-root1-tsa",
        signature: SHA256_RSA,
        key: 2048,
        subject: TSA,
        not_before: "2018-06-15T00:00:00Z",
        not_after: "2028-06-14T23:59:59Z",
        extensions: ROOT1_TSA,
    },
    Expected {
        profile: "secom-7.1.2-1-root1-tsa-sha1",
        signature: SHA1_RSA,
        key: 2048,
        subject: TSA,
        not_before: "2018-06-15T00:00:00Z",
        not_after: "2028-06-14T23:59:59Z",
        extensions: ROOT1_TSA,
    },
    Expected {
        profile: "secom-7.1.2-2-root2-tsa",
        signature: SHA256_RSA,
        key: 2048,
        subject: TSA,
        not_before: "2018-06-15T00:00:00Z",
        not_after: "2028-06-14T23:59:59Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            TSA_USAGE[0],
            TSA_USAGE[1],
            (POLICIES, false, "1.2.392.200091.100.901.5 CPS https://repository.secomtrust.net/SC-Root2/"),
            (CRL_POINTS, false, "http://repository.secomtrust.net/SC-Root2/SCRoot2CRL.crl"),
            (AIA, false, "1.3.6.1.5.5.7.48.1 http://scrootca2.ocsp.secomtrust.net"),
        ],
    },
    Expected {
        profile: "secom-7.1.2-4-root3-tsa",
        signature: SHA384_RSA,
        key: 2048,
        subject: TSA,
        not_before: "2018-06-15T00:00:00Z",
        not_after: "2028-06-14T23:59:59Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            TSA_USAGE[0],
            TSA_USAGE[1],
            (POLICIES, false, "1.2.392.200091.100.901.7 CPS https://repository.secomtrust.net/SC-Root3/"),
            (CRL_POINTS, false, "http://repository.secomtrust.net/SC-Root3/SCRoot3CRL.crl"),
            (AIA, false, "1.3.6.1.5.5.7.48.1 http://scrootca3.ocsp.secomtrust.net"),
        ],
    },
];

const ROOT1_TSA: &[Extension] = &[
    IDENTIFIERS[0],
    IDENTIFIERS[1],
    TSA_USAGE[0],
    TSA_USAGE[1],
    (POLICIES, false, "1.2.392.200091.100.901.2 CPS https://repository.secomtrust.net/SC-Root1/"),
    (CRL_POINTS, false, "http://repository.secomtrust.net/SC-Root1/SCRoot1CRL.crl"),
];

/// keyUsage digitalSignature, extendedKeyUsage OCSPSigning, OCSP No Check null, and no certificatePolicies from 15 September 2023.
const RESPONDER: &[Extension] = &[
    IDENTIFIERS[0],
    IDENTIFIERS[1],
    (KEY_USAGE, true, "digitalSignature"),
    (EXT_KEY_USAGE, false, "1.3.6.1.5.5.7.3.9"),
    (NO_CHECK, false, "NULL"),
];

const OCSP: &[Attribute] = &[(C, "JP", 19), (O, "Example K.K.", 12), (CN, "Example OCSP", 12)];

/// Tables 7.1.2-3, 7.1.2-5 and 7.1.2-6 of the SECOM CP.
pub const SECOM_OTHERS: [Expected; 3] = [
    Expected {
        profile: "secom-7.1.2-3-root2-ocsp",
        signature: SHA256_RSA,
        key: 2048,
        subject: OCSP,
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2027-11-20T23:59:59Z",
        extensions: RESPONDER,
    },
    Expected {
        profile: "secom-7.1.2-5-root3-ocsp",
        signature: SHA384_RSA,
        key: 2048,
        subject: OCSP,
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2027-11-20T23:59:59Z",
        extensions: RESPONDER,
    },
    Expected {
        profile: "secom-7.1.2-6-root3-sub-ca",
        signature: SHA384_RSA,
        key: 4096,
        subject: &[(C, "JP", 19), (O, "Example K.K.", 12), (CN, "Example TSA CA", 12)],
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2046-11-20T23:59:59Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, true, "keyCertSign cRLSign"),
            (EXT_KEY_USAGE, false, "1.3.6.1.5.5.7.3.8"),
            (POLICIES, false, "1.2.392.200091.100.901.7 CPS https://repository.secomtrust.net/SC-Root3/"),
            (BASIC_CONSTRAINTS, true, "CA pathLen 0"),
            (CRL_POINTS, false, "http://repository.secomtrust.net/SC-Root3/SCRoot3CRL.crl"),
            (
                AIA,
                false,
                "1.3.6.1.5.5.7.48.1 http://scrootca3.ocsp.secomtrust.net 1.3.6.1.5.5.7.48.2 http://repository.secomtrust.net/SC-Root3/SCRoot3ca.cer",
            ),
        ],
    },
];

/// "C = JP, O = Japanese Government, OU = MPHPT, …, in PrintableString."
const MINISTRY: [Attribute; 3] = [(C, "JP", 19), (O, "Japanese Government", 19), (OU, "MPHPT", 19)];

/// Tables 7.1.1, 7.1.2 and 7.1.3 of the MPHPT CP/CPS, with the times that they print.
pub const MPHPT: [Expected; 3] = [
    Expected {
        profile: "mphpt-7.1.1-self-signed",
        signature: SHA1_RSA,
        key: 2048,
        subject: &[MINISTRY[0], MINISTRY[1], MINISTRY[2], (OU, "MPHPT Certification Authority", 19)],
        not_before: "2001-03-31T15:00:00Z",
        not_after: "2011-03-31T15:00:00Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, false, "keyCertSign cRLSign"),
            (BASIC_CONSTRAINTS, false, "CA"),
            (NETSCAPE_CERT_TYPE, false, "bits 5 7"),
        ],
    },
    Expected {
        profile: "mphpt-7.1.2-server",
        signature: SHA1_RSA,
        key: 1024,
        subject: &[MINISTRY[0], MINISTRY[1], MINISTRY[2], (CN, "xxx.yyy.go.jp", 19)],
        not_before: "2001-03-31T15:00:00Z",
        not_after: "2004-03-31T15:00:00Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, true, "digitalSignature keyEncipherment dataEncipherment"),
            (NETSCAPE_CERT_TYPE, false, "bits 1"),
        ],
    },
    Expected {
        profile: "mphpt-7.1.3-code-signing",
        signature: SHA1_RSA,
        key: 1024,
        subject: &[MINISTRY[0], MINISTRY[1], MINISTRY[2], (CN, "MPHPT(Soumu-sho)", 19)],
        not_before: "2001-03-31T15:00:00Z",
        not_after: "2004-03-31T15:00:00Z",
        extensions: &[IDENTIFIERS[0], IDENTIFIERS[1], (KEY_USAGE, false, "digitalSignature"), (NETSCAPE_CERT_TYPE, false, "bits 3")],
    },
];

const GOVERNOR: &[Attribute] = &[(C, "JP", 19), (O, "JPKI", 12), (OU, "Governor of Example", 12)];
const CA: &[Extension] = &[IDENTIFIERS[0], IDENTIFIERS[1], (KEY_USAGE, true, "keyCertSign cRLSign"), (BASIC_CONSTRAINTS, true, "CA")];

/// Section 7.1 (2) and (3), 1.2, 6.1.5, 6.3.2.1 and 6.3.2.3 of the JPKI rules: validity of 10 years, 5 years, 1 year, keys of 2048 and 1024 bits. Link
/// certificates are in [`JPKI_LINKS`].
pub const JPKI: [Expected; 5] = [
    Expected {
        profile: "jpki-7.1-3-self-signed",
        signature: SHA256_RSA,
        key: 2048,
        subject: GOVERNOR,
        not_before: "2010-01-01T00:00:00Z",
        not_after: "2020-01-01T00:00:00Z",
        extensions: CA,
    },
    Expected {
        profile: "jpki-7.1-2-cross",
        signature: SHA256_RSA,
        key: 2048,
        subject: &[(C, "JP", 19), (O, "Japanese Government", 12), (OU, "Bridge CA", 12)],
        not_before: "2010-01-01T00:00:00Z",
        not_after: "2015-01-01T00:00:00Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, true, "keyCertSign cRLSign"),
            (BASIC_CONSTRAINTS, true, "CA pathLen 0"),
            (POLICIES, true, "1.2.392.200149.8.5.1.1.10"),
            (CRL_POINTS, false, "http://crl.example.com/17.crl"),
        ],
    },
    Expected {
        profile: "jpki-ocsp-responder",
        signature: SHA256_RSA,
        key: 1024,
        subject: OCSP,
        not_before: "2010-01-01T00:00:00Z",
        not_after: "2011-01-01T00:00:00Z",
        extensions: &[
            RESPONDER[0],
            RESPONDER[1],
            RESPONDER[2],
            RESPONDER[3],
            RESPONDER[4],
            (POLICIES, false, "1.2.392.200149.8.5.1.1.300"),
        ],
    },
    Expected {
        profile: "jpki-ssl-server",
        signature: SHA256_RSA,
        key: 1024,
        subject: &[(C, "JP", 19), (O, "JPKI", 12), (CN, "www.example.com", 12)],
        not_before: "2010-01-01T00:00:00Z",
        not_after: "2011-01-01T00:00:00Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, true, "digitalSignature keyEncipherment"),
            (EXT_KEY_USAGE, false, "1.3.6.1.5.5.7.3.1"),
            (ALT_NAME, false, "dns www.example.com dns example.com"),
            (POLICIES, false, "1.2.392.200149.8.5.1.1.100"),
            (CRL_POINTS, false, "http://crl.example.com/17.crl"),
        ],
    },
    Expected {
        profile: "jpki-validation-server",
        signature: SHA256_RSA,
        key: 1024,
        subject: &[(C, "JP", 19), (O, "JPKI", 12), (CN, "Validation", 12)],
        not_before: "2010-01-01T00:00:00Z",
        not_after: "2011-01-01T00:00:00Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, true, "digitalSignature nonRepudiation"),
            (POLICIES, false, "1.2.392.200149.8.5.1.1.200"),
            (CRL_POINTS, false, "http://crl.example.com/17.crl"),
        ],
    },
];

/// Section 7.1 (4): an old key of 2010, a new one of 2015. "From the generation of the certified key pair to the end of the old self-signed certificate."
pub const JPKI_LINKS: [Expected; 2] = [
    Expected {
        profile: "jpki-7.1-4-old-with-new",
        signature: SHA256_RSA,
        key: 2048,
        subject: GOVERNOR,
        not_before: "2010-01-01T00:00:00Z",
        not_after: "2020-01-01T00:00:00Z",
        extensions: CA,
    },
    Expected {
        profile: "jpki-7.1-4-new-with-old",
        signature: SHA256_RSA,
        key: 2048,
        subject: GOVERNOR,
        not_before: "2015-01-01T00:00:00Z",
        not_after: "2020-01-01T00:00:00Z",
        extensions: CA,
    },
];

const SERVER: &[Attribute] = &[(CN, "www.example.com", 12)];
const DOMAIN_VALIDATED: Extension = (POLICIES, false, "2.23.140.1.2.1");
const SERVER_USAGE: [Extension; 3] = [
    (KEY_USAGE, true, "digitalSignature"),
    (EXT_KEY_USAGE, false, "1.3.6.1.5.5.7.3.1"),
    (ALT_NAME, false, "dns www.example.com dns example.com"),
];
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2 http://ca.example.com/ca.cer";
const OCSP_AND_CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.1 http://ocsp.example.com/ 1.3.6.1.5.5.7.48.2 http://ca.example.com/ca.cer";

/// TLS BR 2.2.6, 7.1.2.1, 7.1.2.6, 7.1.2.7, 7.1.2.8 and RFC 9608.
pub const BASELINE_REQUIREMENTS: [Expected; 5] = [
    Expected {
        profile: "br-7.1.2.1-root",
        signature: SHA256_RSA,
        key: 2048,
        subject: &[(C, "JP", 19), (O, "Example K.K.", 12), (CN, "Example Root", 12)],
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2051-11-21T23:59:59Z",
        extensions: CA,
    },
    Expected {
        profile: "br-7.1.2.6-tls-sub-ca",
        signature: SHA256_RSA,
        key: 4096,
        subject: &[(C, "JP", 19), (O, "Example K.K.", 12), (CN, "Example CA", 12)],
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2036-11-20T23:59:59Z",
        extensions: &[
            IDENTIFIERS[0],
            IDENTIFIERS[1],
            (KEY_USAGE, true, "keyCertSign cRLSign"),
            (EXT_KEY_USAGE, false, "1.3.6.1.5.5.7.3.1"),
            (BASIC_CONSTRAINTS, true, "CA pathLen 0"),
            DOMAIN_VALIDATED,
            (CRL_POINTS, false, "http://crl.example.com/17.crl"),
            (AIA, false, OCSP_AND_CA_ISSUERS),
        ],
    },
    Expected {
        profile: "br-7.1.2.7-tls-server",
        signature: SHA256_RSA,
        key: 2048,
        subject: SERVER,
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2027-06-07T23:59:59Z",
        extensions: &[
            IDENTIFIERS[0],
            SERVER_USAGE[0],
            SERVER_USAGE[1],
            SERVER_USAGE[2],
            DOMAIN_VALIDATED,
            (CRL_POINTS, false, "http://crl.example.com/17.crl"),
            (AIA, false, OCSP_AND_CA_ISSUERS),
        ],
    },
    Expected {
        profile: "br-7.1.2.7-tls-server-short-lived",
        signature: SHA256_RSA,
        key: 2048,
        subject: SERVER,
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2026-11-27T23:59:59Z",
        extensions: &[
            IDENTIFIERS[0],
            SERVER_USAGE[0],
            SERVER_USAGE[1],
            SERVER_USAGE[2],
            DOMAIN_VALIDATED,
            (AIA, false, CA_ISSUERS),
            (NO_REV_AVAIL, false, "NULL"),
        ],
    },
    Expected {
        profile: "br-7.1.2.8-ocsp-responder",
        signature: SHA256_RSA,
        key: 2048,
        subject: OCSP,
        not_before: "2026-11-21T00:00:00Z",
        not_after: "2027-11-20T23:59:59Z",
        extensions: RESPONDER,
    },
];
