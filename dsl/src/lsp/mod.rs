//! The language server: rules in an editor, checked as they are written.
//!
//! It speaks the Language Server Protocol 3.17 over standard input and output ([`run`]) or over any connection
//! ([`serve`]). Texts that are open stand in the place of files, so that what is checked is what is seen; imports are
//! followed. Each file of this room is one thing that an editor asks: `hover`, `complete` (and `cursor`, which reads
//! half-written text), `navigate`, `outline`, `edit`, `publish`. `workspace` knows what is open; `server` is the loop.

mod complete;
mod cursor;
mod edit;
mod hover;
mod navigate;
mod occurrences;
mod outline;
mod packs;
mod publish;
mod server;
mod text;
mod workspace;

pub use server::{Failure, serve};

use crate::CompileOptions;
use lsp_server::Connection;

/// Serves one editor over standard input and output, to its end. True where the editor said goodbye as the protocol
/// wants it (`shutdown`, then `exit`).
///
/// # Errors
/// What the editor said breaks the protocol.
pub fn run(options: CompileOptions) -> Result<bool, Failure> {
    let (connection, threads) = Connection::stdio();
    let ended = serve(&connection, options);
    // The threads end when both ends of the connection are gone.
    drop(connection);
    match (ended, threads.join()) {
        (Ok(orderly), Ok(())) => Ok(orderly),
        (Ok(_), Err(error)) => Err(Failure::Transport(error.to_string())),
        (Err(failure), _) => Err(failure),
    }
}
