//! A session of kind `tcp`: bytes both ways between a client and a target, inspected as they pass.
//!
//! Nothing is understood of the target's own protocol. What a rule masks is replaced, what a rule blocks breaks the session off on
//! both sides; whatever else goes wrong does the same, so that nobody takes a part for the whole.

mod carry;
mod pass;
mod socket;
#[cfg(target_os = "linux")]
mod splice;
mod tally;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use sluice_client::{stream::code_of, wire::Code};
use sluice_dsl::{HitAction, RequestFacts};
use sluice_engine::{RuleSet, Stop};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::Through,
    approval::{self, Command, DeskError, State, Want},
    config::UpstreamConfig,
    evidence::{Event, EvidenceError, HitRecord, Record, RequestOutcome, ResponseOutcome},
    exchange::GRACE,
    gateway::Gateway,
    meter::Meter,
    session::Session,
};
use pass::{Broken, Pass, Side};
pub(crate) use socket::Outgoing;
use socket::{FromTarget, Incoming, Source, Target, ToTarget};
use tally::Tally;

/// How long a target may take to be reached.
const CONNECT: Duration = Duration::from_secs(10);
/// What the rules did to answers is on record after this time.
const FLUSH: Duration = Duration::from_secs(2);
/// When the gateway stops, a session that is quiet for so long is over.
const QUIET: Duration = Duration::from_secs(1);

/// A session that is recorded and connected.
pub(crate) struct Opened {
    session: Arc<Session>,
    exchange: u64,
    requests: RuleSet,
    responses: RuleSet,
    target: (FromTarget, ToTarget),
    /// The agent that it goes through, where it does.
    through: Option<Through>,
}

/// Why a session doesn't come about.
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Refused {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Records what is asked for, decides whether it may be, and connects. Nothing has gone upstream when it is refused, and the
/// session is over.
pub(crate) async fn open(
    gateway: &Gateway,
    session: Arc<Session>,
    upstream: &UpstreamConfig,
) -> Result<Opened, Refused> {
    let id = session.id.clone();
    let opened = reach(gateway, session, upstream).await;
    if let Err(refused) = &opened
        && let Err(error) = gateway.sessions.close(&id, &refused.message).await
    {
        tracing::error!(session = %id, %error, "the end of a session is not recorded");
    }
    opened
}

async fn reach(gateway: &Gateway, session: Arc<Session>, upstream: &UpstreamConfig) -> Result<Opened, Refused> {
    let facts = RequestFacts { now: Some(jiff::ZonedDateTime::now()), ..RequestFacts::default() };
    let (mut refusal, mut want) = (None, None);
    let mut hits = Vec::new();
    for hit in session.policy.decide(&facts) {
        let by_rule =
            |message: &str| Refused::new(Code::Blocked, format!("refused by rule `{}`: {message}", hit.rule.name));
        let (action, refused) = match &hit.action {
            HitAction::Block { message } => ("block", Some(by_rule(message))),
            HitAction::Approve { .. } => {
                want = want.or_else(|| Want::of(&hit));
                ("approve", None)
            }
            HitAction::Alert => (if hit.rule.audit { "audit" } else { "alert" }, None),
        };
        refusal = refusal.or(refused);
        hits.push(HitRecord::of(&hit.rule, action, hit.detail.clone()));
    }
    let exchange = session.next_exchange();
    let target = match upstream {
        UpstreamConfig::Tcp { address } => address.clone(),
        _ => "by an agent".to_owned(),
    };
    let mut approval = None;
    if let (Some(want), None) = (want, &refusal) {
        match approved(gateway, &session, exchange, &want, &target).await {
            Ok(by) => approval = Some(by),
            Err((by, refused)) => (approval, refusal) = (by, Some(refused)),
        }
    }
    let event = Event::Request {
        exchange,
        method: "connect".to_owned(),
        name: Some(target),
        body: String::new(),
        purpose: session.purpose.as_ref().map(ToString::to_string),
        outcome: if refusal.is_some() { RequestOutcome::Refused } else { RequestOutcome::Forwarded },
        hits,
        approval,
    };
    append(gateway, &session, event).await.map_err(|error| unrecorded(&error))?;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let reached = match upstream {
        UpstreamConfig::Tcp { address } => match timeout(CONNECT, connect(address)).await {
            Ok(Ok((from, to))) => Ok(((FromTarget::Socket(from), ToTarget::Socket(to)), None)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it doesn't answer".to_owned()),
        },
        UpstreamConfig::Agents => {
            let dialled = gateway.agents.dial(&session.connection, &session.id).await;
            dialled.map(|((from, to), through)| ((FromTarget::Agent(from), ToTarget::Agent(to)), Some(through)))
        }
        _ => Err("it doesn't carry bytes".to_owned()),
    };
    let (target, through) = match reached {
        Ok(reached) => reached,
        Err(reason) => {
            tracing::warn!(connection = session.connection, reason, "a target can't be reached");
            let event = Event::Passed {
                exchange,
                sent: 0,
                received: 0,
                requests: Vec::new(),
                responses: Vec::new(),
                last: true,
                outcome: ResponseOutcome::UpstreamError,
                reason: Some("the target can't be reached".to_owned()),
            };
            if let Err(error) = append(gateway, &session, event).await {
                tracing::error!(session = %session.id, %error, "the end of a session is not recorded");
            }
            return Err(Refused::new(Code::Upstream, "the target can't be reached"));
        }
    };
    let (requests, responses) = (session.policy.request_rules(&facts), session.policy.response_rules(&facts));
    Ok(Opened { session, exchange, requests, responses, target, through })
}

fn unrecorded(error: &EvidenceError) -> Refused {
    tracing::error!(%error, "a session is not recorded and doesn't begin");
    Refused::new(Code::Evidence, "the session can't be recorded, so it is refused")
}

/// The approval by which a connection is made. It is not waited for: the client is told of the request, and comes back.
async fn approved(
    gateway: &Gateway,
    session: &Session,
    exchange: u64,
    want: &Want,
    target: &str,
) -> Result<String, (Option<String>, Refused)> {
    let purpose = session.purpose.as_ref().map(ToString::to_string);
    let held = match gateway.desk.ask(session, exchange, purpose.as_deref(), want, Command::connect(target)).await {
        Ok(held) => held,
        Err(DeskError::Evidence(error)) => return Err((None, unrecorded(&error))),
        Err(error) => return Err((None, Refused::new(Code::Blocked, error.to_string()))),
    };
    let rules = gateway.policy.load().digest().to_owned();
    let (id, state) = (held.asked.approval.clone(), held.seen().state);
    match gateway.desk.take(&held, &rules).await {
        Ok(true) => Ok(id),
        Ok(false) if state == State::Pending => {
            Err((Some(id), Refused::new(Code::Blocked, approval::undecided(&held.asked))))
        }
        Ok(false) => Err((Some(id), Refused::new(Code::Blocked, approval::ended(&held)))),
        Err(error) => Err((Some(id), unrecorded(&error))),
    }
}

async fn append(gateway: &Gateway, session: &Session, event: Event) -> Result<(), EvidenceError> {
    gateway.evidence.append(Record::now(session.id.clone(), event)).await.map(drop)
}

async fn connect(address: &str) -> io::Result<(Incoming, Outgoing)> {
    let target = TcpStream::connect(address).await?;
    target.set_nodelay(true)?;
    keep_alive(&target)?;
    Outgoing::split(target)
}

/// A peer that is gone without a word is noticed within a minute and a half (RFC 9293, section 3.8.4).
pub(crate) fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let keep = socket2::TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket2::SockRef::from(socket).set_tcp_keepalive(&keep)
}

/// How a session ended.
struct End {
    /// What the client's stream is reset with; None where both sides ended in order.
    code: Option<Code>,
    outcome: ResponseOutcome,
    reason: Option<String>,
}

impl End {
    fn new(code: Code, outcome: ResponseOutcome, reason: impl Into<String>) -> Self {
        Self { code: Some(code), outcome, reason: Some(reason.into()) }
    }
}

/// Carries bytes until both sides have ended or something ends the session; then closes its record.
pub(crate) async fn run(
    gateway: &Gateway,
    opened: Opened,
    (mut reader, mut writer): (impl Source, impl Target),
    lost: impl Future<Output = Code>,
    shutdown: &CancellationToken,
    meter: Option<Arc<Meter>>,
) {
    let Opened { session, exchange, requests, responses, target, through } = opened;
    let policy = session.policy.policy();
    let tally = Tally::new(&gateway.evidence, &session, exchange, policy.clone());
    let (mut from_target, mut to_target) = target;
    let gone = writer.gone();
    let end = {
        let up = Pass::new(Side::Client, policy.program(), requests, &gateway.budget, &session, &tally, meter.clone());
        let down = Pass::new(Side::Target, policy.program(), responses, &gateway.budget, &session, &tally, meter);
        let both =
            async { tokio::try_join!(up.run(&mut reader, &mut to_target), down.run(&mut from_target, &mut writer)) };
        let recorded = async {
            loop {
                sleep(FLUSH).await;
                if let Err(error) = tally.flush().await {
                    return error;
                }
            }
        };
        tokio::select! {
            biased;
            code = lost => End::new(code, ResponseOutcome::Cancelled, code.to_string()),
            () = session.closed.cancelled() => {
                End::new(Code::Ended, ResponseOutcome::Cancelled, "the session has ended")
            }
            done = both => match done {
                Ok((true, _)) => End { code: None, outcome: ResponseOutcome::Complete, reason: None },
                Ok((false, _)) => {
                    let reason = Some("the target took no more".to_owned());
                    End { code: None, outcome: ResponseOutcome::UpstreamError, reason }
                }
                Err(broken) => end_of(&broken, policy),
            },
            () = agent_gone(through.as_ref()) => {
                End::new(Code::Upstream, ResponseOutcome::UpstreamError, "the agent may serve no longer")
            }
            () = gone => End::new(Code::Ended, ResponseOutcome::Cancelled, "the client went away"),
            error = recorded => end_of(&Broken::Evidence(error), policy),
            () = stopped(shutdown, &session) => {
                End::new(Code::Draining, ResponseOutcome::Cancelled, "the gateway is stopping")
            }
        }
    };
    match end.code {
        Some(code) => {
            writer.reset(code);
            reader.stop(code);
            drop(writer);
        }
        None => writer.close(),
    }
    match end.outcome {
        ResponseOutcome::Complete => to_target.close(),
        // A reset, so that the target doesn't take what it has for all.
        _ => {
            to_target.reset(Code::Ended);
            from_target.stop(Code::Ended);
            drop(to_target);
        }
    }
    drop((reader, from_target));
    let reason = end.reason.clone().unwrap_or_else(|| "the client and the target ended it".to_owned());
    if let Err(error) = tally.close(end.outcome, end.reason).await {
        tracing::error!(session = %session.id, %error, "the end of a session is not recorded");
    }
    if let Err(error) = gateway.sessions.close(&session.id, &reason).await {
        tracing::error!(session = %session.id, %error, "the end of a session is not recorded");
    }
}

/// Never, where it goes through none.
async fn agent_gone(through: Option<&Through>) {
    match through {
        Some(through) => through.gone().await,
        None => std::future::pending().await,
    }
}

fn end_of(broken: &Broken, policy: &sluice_dsl::Policy) -> End {
    match broken {
        Broken::Client(error) => {
            let reason =
                code_of(error).map_or_else(|| "the client broke off".to_owned(), |code| format!("the client: {code}"));
            End::new(Code::Ended, ResponseOutcome::Cancelled, reason)
        }
        Broken::Target(error) => {
            End::new(Code::Upstream, ResponseOutcome::UpstreamError, format!("the target broke off: {error}"))
        }
        Broken::Stopped(Stop::Blocked(decision)) => {
            let rule = policy.rule(decision.rule);
            End::new(Code::Blocked, ResponseOutcome::Blocked, format!("refused by rule `{}`", rule.name))
        }
        Broken::Stopped(stop @ Stop::Budget { .. }) => End::new(Code::Busy, ResponseOutcome::Blocked, stop.to_string()),
        Broken::Stopped(stop) => End::new(Code::Internal, ResponseOutcome::Blocked, stop.to_string()),
        Broken::Evidence(error) => {
            tracing::error!(%error, "what a rule did is not recorded, and the session ends");
            End::new(Code::Evidence, ResponseOutcome::Cancelled, "what happens can't be recorded")
        }
    }
}

/// The gateway stops, and the session is quiet or has had its time.
async fn stopped(shutdown: &CancellationToken, session: &Session) {
    shutdown.cancelled().await;
    let until = Instant::now() + GRACE;
    while Instant::now() < until && session.quiet_for(Instant::now()) < QUIET {
        sleep(QUIET / 10).await;
    }
}
