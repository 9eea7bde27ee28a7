//! The bundled demo.

mod data;
pub mod server;
mod show;

pub(crate) use show::run;
