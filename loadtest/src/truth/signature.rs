//! Whether a signature is right, by aws-lc-rs.

use aws_lc_rs::signature as s;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SECP_256_R_1, SECP_384_R_1, SHA_1_WITH_RSA_ENCRYPTION,
    SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};
use const_oid::db::rfc8410::ID_ED_25519;
use der::Decode;
use spki::SubjectPublicKeyInfoRef;

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotSigned {
    #[error("the signature does not verify")]
    Wrong,
    #[error("found signature algorithm {0}, wanted RSA, ECDSA or Ed25519")]
    Algorithm(ObjectIdentifier),
}

/// Verifies a signature with the key in `key` (DER SubjectPublicKeyInfo).
pub(super) fn verify(algorithm: ObjectIdentifier, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), NotSigned> {
    let curve = SubjectPublicKeyInfoRef::from_der(key).ok().and_then(|key| key.algorithm.parameters_oid().ok());
    let algorithm: &dyn s::VerificationAlgorithm = match algorithm {
        SHA_1_WITH_RSA_ENCRYPTION => &s::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        SHA_256_WITH_RSA_ENCRYPTION => &s::RSA_PKCS1_2048_8192_SHA256,
        SHA_384_WITH_RSA_ENCRYPTION => &s::RSA_PKCS1_2048_8192_SHA384,
        SHA_512_WITH_RSA_ENCRYPTION => &s::RSA_PKCS1_2048_8192_SHA512,
        ECDSA_WITH_SHA_256 if curve == Some(SECP_256_R_1) => &s::ECDSA_P256_SHA256_ASN1,
        ECDSA_WITH_SHA_256 if curve == Some(SECP_384_R_1) => &s::ECDSA_P384_SHA256_ASN1,
        ECDSA_WITH_SHA_384 if curve == Some(SECP_256_R_1) => &s::ECDSA_P256_SHA384_ASN1,
        ECDSA_WITH_SHA_384 => &s::ECDSA_P384_SHA384_ASN1,
        ECDSA_WITH_SHA_512 => &s::ECDSA_P521_SHA512_ASN1,
        ID_ED_25519 => &s::ED25519,
        other => return Err(NotSigned::Algorithm(other)),
    };
    s::UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(|_| NotSigned::Wrong)
}
