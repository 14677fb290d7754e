//! Dual control (S1.5, S1.6, S2.3, S4.8): who the operators are, what each may approve, and whether an order has the approvals that it needs.
//!
//! Pure: files are given as text, the time as an argument. Nothing here opens a file, reads a clock, or carries anything out.

mod approval;
mod judgement;
mod operators;
mod policy;

pub use approval::{Approval, ApprovalError, MAX_APPROVAL_BYTES, MAX_VALIDITY, Statement};
pub use judgement::{Accepted, Case, Judgement, Refusal, RefusedApproval, judge};
pub use operators::{MAX_OPERATORS_BYTES, Operator, Operators, OperatorsError, Role};
pub use policy::{OrderClass, Requirement};

#[cfg(test)]
mod tests;
