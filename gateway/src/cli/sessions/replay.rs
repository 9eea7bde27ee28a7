//! `sluice sessions replay`: plays a session in the terminal as its user saw it.

use std::{
    io::{self, IsTerminal as _, Write},
    pin::pin,
    time::Duration,
};

use clap::Args;
use tokio::time::{Instant, sleep_until};

use super::{recorded, screen::scenes};
use crate::cli::{stop_signal, store::Store};

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The session.
    id: String,
    /// So many times as fast.
    #[arg(long, value_name = "N", default_value = "1", value_parser = speed)]
    speed: f64,
    /// All of it, without waiting.
    #[arg(long, conflicts_with = "speed")]
    at_once: bool,
    /// This exchange alone.
    #[arg(long, value_name = "N")]
    exchange: Option<u64>,
    #[command(flatten)]
    from: Store,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed: &f64| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "a number above 0, such as 2 or 0.5".to_owned())
}

pub(super) async fn replay(arguments: &ReplayArgs) -> Result<(), String> {
    let ReplayArgs { id, speed, at_once, exchange, from } = arguments;
    let records = recorded(&from.reader()?, id)?;
    let mut out = io::stdout().lock();
    let scenes = scenes(&records, *exchange, out.is_terminal())?;
    let (begin, mut stop) = (Instant::now(), pin!(stop_signal()));
    for scene in scenes {
        if !at_once {
            // A pause that is longer than a duration can be ends with the program.
            let pause = Duration::try_from_secs_f64(scene.at.as_secs_f64() / speed).unwrap_or(Duration::MAX);
            let until = begin.checked_add(pause).unwrap_or(begin + Duration::from_secs(u32::MAX.into()));
            tokio::select! {
                () = sleep_until(until) => {}
                _ = &mut stop => return Ok(()),
            }
        }
        match out.write_all(scene.text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(|error| format!("can't write: {error}"))?,
        }
    }
    Ok(())
}
