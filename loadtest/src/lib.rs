//! Capacity testing of OCSP responders and CRL servers, over the network only.
//!
//! # The map
//!
//! | module | what it is for |
//! |---|---|
//! | [`targets`] | what is asked: OCSP questions and CRLs, popularity and mix |
//! | [`truth`] | whether the answers are right |
//! | [`shape`] | how the load looks: the options of the command line and of scenario files |
//! | [`units`] | rates, shares, times and weights as people write them |
//! | [`record`] | what a run has measured, as JSON |
//! | [`cli`] | the command line: wires everything together |

pub mod cli;
pub mod record;
pub mod shape;
pub mod targets;
pub mod truth;
pub mod units;
