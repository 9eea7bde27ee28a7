//! `sluice demo`.
use crate::cli::Outcome;
pub(crate) async fn run() -> Outcome {
    Outcome::Clean
}
