//! Whether answers are right: a sample of them, checked beside the load and never within it.

pub mod headers;

pub use headers::HeaderRules;
