//! The inspector beside its peers: what is searched for, what is searched through, who searches, and how it is measured.

pub mod corpora;
pub mod measure;
pub mod peers;
pub mod reference;
pub mod report;
mod rng;
pub mod workload;
