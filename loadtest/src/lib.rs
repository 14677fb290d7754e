//! Capacity testing of OCSP responders and CRL servers, over the network only.
//!
//! # The map
//!
//! | module | what it is for |
//! |---|---|
//! | [`targets`] | what is asked: OCSP questions and CRLs, popularity and mix |
//! | [`load`] | the engine: arrivals, connections, counting |
//! | [`measure`] | a whole measurement, and the search for the highest rate |
//! | [`scenario`] | loads that have a name, in files |
//! | [`incident`] | a mass revocation under load |
//! | [`search`] | which rate is tried next; pure |
//! | `descriptors` | room for a load's connections among the files that a process may open |
//! | `slow` | slow clients beside a load |
//! | [`client`] | one request after the other, for what goes on beside a load |
//! | [`truth`] | whether the answers are right |
//! | [`shape`] | how the load looks: the options of the command line and of scenario files |
//! | [`endpoint`] | the URL of the service |
//! | [`process`] | CPU time and memory of the server and of the load tester |
//! | [`units`] | rates, shares, times and weights as people write them |
//! | [`record`] | what a run has measured, as JSON |
//! | [`record_file`] | reading that from a file that may be anything |
//! | [`report`] | a run as one page of HTML |
//! | [`compare`] | two runs side by side |
//! | [`plan`] | what a service of a given size needs |
//! | [`cli`] | the command line: wires everything together |

pub mod cli;
pub mod client;
pub mod compare;
mod descriptors;
pub mod endpoint;
mod figures;
pub mod incident;
pub mod load;
pub mod measure;
pub mod plan;
pub mod process;
pub mod record;
pub mod record_file;
pub mod report;
pub mod scenario;
pub mod search;
pub mod shape;
mod slow;
pub mod targets;
pub mod truth;
pub mod units;

/// Under this name the tests' runs find what they are made of, in unit tests as in others.
#[cfg(test)]
extern crate self as kakunin_loadtest;
