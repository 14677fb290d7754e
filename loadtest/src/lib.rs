//! Capacity testing of OCSP responders and CRL servers, over the network only.
//!
//! # The map
//!
//! | module | what it is for |
//! |---|---|
//! | [`record`] | what a run has measured, as JSON |

pub mod record;
