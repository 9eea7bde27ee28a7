//! A command of PostgreSQL that waits for an approval: the client is told by notices, and may cancel.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::ReadHalf;
use tokio::time::Instant;

use super::{End, Middle, fill, lock, unrecorded};
use crate::approval::{self, DeskError, Held, State};
use crate::protocol::postgres::frame::Frames;
use crate::protocol::postgres::report::Report;
use crate::protocol::postgres::{Hold, Verdict};
use crate::upstream::estimate::estimate;
use crate::upstream::postgres::Socket;

/// How often a session in which a command waits is marked as used.
const BEAT: Duration = Duration::from_secs(1);
/// What a client may send ahead while its command waits, in bytes; then it waits itself.
const AHEAD: usize = 256 * 1024;
/// What stands in the place of an estimate where the server can't be asked for one.
const NO_ESTIMATE: &str = "only of a single SELECT, INSERT, UPDATE, DELETE or MERGE without parameters";
/// The state of what is not approved: insufficient_privilege.
const REFUSED: &str = "42501";

/// Waits until it is decided about a command, and tells the conversation, which is given the command once more.
pub(super) async fn wait(
    middle: &Middle,
    hold: Hold,
    client: &mut ReadHalf<Box<dyn Socket>>,
    frames: &mut Frames,
    room: &mut usize,
) -> Result<(), End> {
    let hash = hold.command.hash.clone();
    let verdict = decide(middle, hold, client, frames, room).await?;
    lock(&middle.conversation).decided(hash, verdict);
    Ok(())
}

async fn decide(
    middle: &Middle,
    hold: Hold,
    client: &mut ReadHalf<Box<dyn Socket>>,
    frames: &mut Frames,
    room: &mut usize,
) -> Result<Verdict, End> {
    let (gateway, session) = (&middle.gateway, &middle.session);
    let purpose = session.purpose.as_ref().map(ToString::to_string);
    let Hold { want, mut command, exchange } = hold;
    if want.estimate && gateway.desk.is_new(session, purpose.as_deref(), &want, &command) {
        let known =
            if command.is_explainable() { estimate(&middle.upstream, &command.text).await } else { NO_ESTIMATE.into() };
        command.facts.insert("estimate".to_owned(), known);
    }
    let held = match gateway.desk.ask(session, exchange, purpose.as_deref(), &want, command).await {
        Ok(held) => held,
        Err(DeskError::Evidence(error)) => return Err(unrecorded(&error).into()),
        Err(error) => return Ok(Verdict::Refused(None, Report::error("53400", error.to_string()))),
    };
    let _waits = middle.waiting.begin();
    let mut seen = held.watch();
    let until = Instant::now() + want.wait;
    let mut told = usize::MAX;
    loop {
        let now = seen.borrow_and_update().clone();
        match now.state {
            State::Pending => {}
            State::Approved => {
                let rules = gateway.policy.load().digest().to_owned();
                match gateway.desk.take(&held, &rules).await {
                    Ok(true) => return Ok(Verdict::Cleared(held.asked.approval.clone())),
                    // Somebody who had approved counts no longer, or it has ended: what it is now is looked at.
                    Ok(false) => continue,
                    Err(error) => return Err(unrecorded(&error).into()),
                }
            }
            _ => return Ok(refused(&held, approval::ended(&held))),
        }
        if now.missing < told {
            told = now.missing;
            let text = format!("this command waits: {}; {told} to go", approval::waits_for(&held.asked));
            lock(&middle.conversation).notify(&Report::notice(text));
            middle.own.notify_one();
        }
        let more = async {
            if frames.buffer().len() >= AHEAD {
                return std::future::pending().await;
            }
            fill(client, frames, room).await
        };
        tokio::select! {
            changed = seen.changed() => changed.map_err(|_| End::ServerGone)?,
            () = middle.waiting.cancelled() => {
                withdraw(middle, &held).await?;
                return Ok(Verdict::Refused(Some(held.asked.approval.clone()), Report::error("57014", "canceling statement due to user request")));
            }
            () = tokio::time::sleep_until(until) => {
                return Ok(refused(&held, approval::undecided(&held.asked)));
            }
            read = more => match read {
                Ok(0) | Err(_) => return Err(End::ClientGone),
                Ok(_) => {}
            },
            () = tokio::time::sleep(BEAT) => session.touch(),
        }
    }
}

async fn withdraw(middle: &Middle, held: &Arc<Held>) -> Result<(), End> {
    let closed = middle.gateway.desk.close(held, State::Withdrawn, "the requester cancelled the command").await;
    closed.map_err(|error| unrecorded(&error).into())
}

fn refused(held: &Held, message: String) -> Verdict {
    let asked = &held.asked;
    let rule = match &asked.rule_id {
        Some(id) => format!("Rule {} ({id}) of pack {}.", asked.rule, asked.pack),
        None => format!("Rule {} of pack {}.", asked.rule, asked.pack),
    };
    Verdict::Refused(Some(asked.approval.clone()), Report::error(REFUSED, message).hint(rule))
}
