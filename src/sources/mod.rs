//! Status sources: what other software knows about certificates, read into records for the registry.

pub mod openssl_index;
