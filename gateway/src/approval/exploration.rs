//! Every order of a handful of events, tried on the machine beside a plain account of what happened.

use super::machine::{Approver, Decision, Moment, Party, Refused, Request, State, Terms};
use jiff::Timestamp;
use std::time::Duration;

const LIMIT: u64 = 3;
const QUORUM: u32 = 2;
/// Events in a row; every sequence of so many is tried.
const DEPTH: usize = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The approver of this number says so.
    Says(usize, Decision),
    /// The first approver is revoked.
    Revoked,
    Take,
    Withdraw,
    /// A second passes.
    Tick,
    /// The wall's clock is set back by an hour.
    SetBack,
    /// This one goes on without an approval.
    Breaks(usize),
}

/// Whoever could decide: two approvers, one of them known at two issuers, the requester, an agent of the requester's, somebody else.
fn people() -> Vec<Approver> {
    let one = |issuer: &str, subject: &str, mail: &str, groups: &[&str]| Approver {
        party: Party { issuer: issuer.into(), subject: subject.into(), user: mail.into(), email: Some(mail.into()) },
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        in_person: true,
    };
    vec![
        one("idp", "1", "grace@x.example", &["dba", "oncall"]),
        one("idp", "2", "linus@x.example", &["dba"]),
        one("other", "9", "Grace@X.example", &["dba"]),
        one("idp", "3", "ada@x.example", &["dba", "oncall"]),
        one("idp", "agent", "agent", &["dba"]),
        one("idp", "4", "eve@x.example", &["sales"]),
    ]
}

const GRACE: usize = 0;
const LINUS: usize = 1;
const GRACE_AGAIN: usize = 2;
const ADA: usize = 3;
const AGENT: usize = 4;
const EVE: usize = 5;

fn steps() -> Vec<Step> {
    let mut steps = vec![Step::Take, Step::Withdraw, Step::Tick, Step::SetBack, Step::Revoked];
    steps.extend([GRACE, LINUS, GRACE_AGAIN, ADA, AGENT, EVE].map(|who| Step::Says(who, Decision::Approve)));
    steps.push(Step::Says(LINUS, Decision::Deny));
    steps.extend([ADA, GRACE].map(Step::Breaks));
    steps
}

fn moment(seconds: u64) -> Moment {
    let wall = Timestamp::from_second(1_800_000_000).expect("a time");
    Moment { steady: Duration::ZERO, wall }.after(Duration::from_secs(seconds))
}

/// What happened, told without the machine.
#[derive(Clone, Debug, Default)]
struct Account {
    seconds: u64,
    back: bool,
    grace: bool,
    linus: bool,
    revoked: bool,
    denied: bool,
    withdrawn: bool,
    taken: bool,
    broken: bool,
}

impl Account {
    fn now(&self) -> Moment {
        let mut now = moment(self.seconds);
        if self.back {
            now.wall = now.wall.checked_sub(jiff::SignedDuration::from_hours(1)).expect("a time");
        }
        now
    }

    fn is_over(&self) -> bool {
        self.seconds >= LIMIT || self.denied || self.withdrawn || self.taken
    }
}

fn explore(machine: &Request, account: &Account, people: &[Approver], depth: usize, tried: &mut u64, taken: &mut u64) {
    *tried += 1;
    if depth == 0 {
        return;
    }
    for step in steps() {
        let (mut machine, mut account) = (machine.clone(), account.clone());
        match step {
            Step::Tick => account.seconds += 1,
            Step::SetBack => account.back = true,
            Step::Revoked => account.revoked = true,
            Step::Withdraw => {
                machine.close(account.now(), State::Withdrawn);
                account.withdrawn |= !account.is_over();
            }
            Step::Says(who, decision) => {
                let said = machine.decide(account.now(), &people[who], decision);
                match who {
                    ADA | AGENT => assert_eq!(said, Err(Refused::Own), "{account:?}"),
                    EVE => assert_eq!(said, Err(Refused::NotApprover), "{account:?}"),
                    _ if account.is_over() => assert!(matches!(said, Err(Refused::Closed(_))), "{account:?}: {said:?}"),
                    LINUS if decision == Decision::Deny => account.denied = true,
                    LINUS => account.linus = true,
                    _ => account.grace = true,
                }
            }
            Step::Breaks(who) => {
                let said = machine.decide(account.now(), &people[who], Decision::BreakGlass);
                match who {
                    ADA if account.is_over() => {
                        assert!(matches!(said, Err(Refused::Closed(_))), "{account:?}: {said:?}")
                    }
                    ADA => account.broken = true,
                    _ => assert_eq!(said, Err(Refused::Glass), "it is not her request: {account:?}"),
                }
            }
            Step::Take => {
                // Who is revoked counts no longer, under neither of her names.
                let revoked = account.revoked;
                let took = machine.take(account.now(), |party| !revoked || !party.may_be(&people[GRACE].party));
                if !account.is_over() {
                    account.grace &= !account.revoked;
                }
                let may = !account.is_over() && (account.broken || (account.grace && account.linus));
                assert_eq!(took, may, "{account:?}");
                *taken += u64::from(took);
                account.taken |= took;
            }
        }
        explore(&machine, &account, people, depth - 1, tried, taken);
    }
}

#[test]
fn it_is_used_once_in_time_by_a_quorum_of_others_whatever_the_order() {
    let people = people();
    let terms = Terms {
        by: vec!["dba".to_owned()],
        count: QUORUM,
        grant: None,
        glass: vec!["oncall".to_owned()],
        parties: vec![people[ADA].party.clone(), people[AGENT].party.clone()],
        deadline: moment(LIMIT),
    };
    let (mut tried, mut taken) = (0, 0);
    explore(&Request::new(terms), &Account::default(), &people, DEPTH, &mut tried, &mut taken);
    let all: u64 = (0..=DEPTH).map(|depth| (steps().len() as u64).pow(u32::try_from(depth).expect("few"))).sum();
    assert_eq!(tried, all);
    assert!(taken > 1_000, "some of them are used: {taken}");
}

#[test]
fn whoever_acts_for_an_approver_does_not_decide_for_them() {
    let mut people = people();
    people[GRACE].in_person = false;
    let terms = Terms {
        by: vec!["dba".to_owned()],
        count: 1,
        grant: None,
        glass: Vec::new(),
        parties: vec![people[ADA].party.clone()],
        deadline: moment(LIMIT),
    };
    let mut machine = Request::new(terms);
    assert_eq!(machine.decide(moment(0), &people[GRACE], Decision::Approve), Err(Refused::NotInPerson));
    assert_eq!(machine.state(), State::Pending);
}

#[test]
fn a_clock_that_is_moved_gives_nobody_more_time() {
    let deadline = moment(60);
    let set_back = Moment { wall: moment(0).wall, ..moment(61) };
    let slept = Moment { steady: Duration::from_secs(1), ..moment(61) };
    assert!(deadline.has_come(set_back) && deadline.has_come(slept) && !deadline.has_come(moment(59)));
}

/// Where an approval holds for a time, the same command goes on again and again until that is over, and nobody has taken it back.
#[test]
fn what_is_granted_for_a_time_goes_on_for_that_time_whatever_the_order() {
    const GRANT: u64 = 2;
    #[derive(Clone, Copy, Debug)]
    enum Grants {
        Approves,
        Denies,
        Revoked,
        Take,
        Tick,
    }
    #[derive(Clone, Debug, Default)]
    struct Told {
        seconds: u64,
        since: Option<u64>,
        denied: bool,
        revoked: bool,
    }
    const STEPS: [Grants; 5] = [Grants::Approves, Grants::Denies, Grants::Revoked, Grants::Take, Grants::Tick];
    fn explore(machine: &Request, told: &Told, people: &[Approver], depth: usize, taken: &mut [u64]) {
        if depth == 0 {
            return;
        }
        for step in STEPS {
            let (mut machine, mut told) = (machine.clone(), told.clone());
            // Pending, it ends with the request's time; granted, with the grant's.
            let over = |told: &Told| match told.since {
                Some(since) => told.seconds >= since + GRANT,
                None => told.seconds >= LIMIT,
            };
            match step {
                Grants::Tick => told.seconds += 1,
                Grants::Revoked => told.revoked = true,
                Grants::Denies => {
                    let closed = over(&told) || told.denied;
                    let said = machine.decide(moment(told.seconds), &people[LINUS], Decision::Deny);
                    assert_eq!(said.is_err(), closed, "{told:?}");
                    told.denied = true;
                }
                Grants::Approves => {
                    let open = !over(&told) && !told.denied && told.since.is_none();
                    let said = machine.decide(moment(told.seconds), &people[GRACE], Decision::Approve);
                    assert_eq!(said.is_ok(), open, "{told:?}: {said:?}");
                    if open {
                        told.since = Some(told.seconds);
                    }
                }
                Grants::Take => {
                    let revoked = told.revoked;
                    let may = !told.denied && !revoked && told.since.is_some() && !over(&told);
                    let took =
                        machine.take(moment(told.seconds), |party| !revoked || !party.may_be(&people[GRACE].party));
                    assert_eq!(took, may, "{told:?}");
                    taken[depth] += u64::from(took);
                    if revoked && !over(&told) && !told.denied {
                        told.since = None;
                    }
                }
            }
            if matches!(step, Grants::Denies) && over(&told) {
                // It was over before it was denied.
                told.denied = true;
            }
            explore(&machine, &told, people, depth - 1, taken);
        }
    }
    let people = people();
    let terms = Terms {
        by: vec!["dba".to_owned()],
        count: 1,
        grant: Some(Duration::from_secs(GRANT)),
        glass: Vec::new(),
        parties: vec![people[ADA].party.clone()],
        deadline: moment(LIMIT),
    };
    let mut taken = [0; 9];
    explore(&Request::new(terms), &Told::default(), &people, 8, &mut taken);
    assert!(taken.iter().sum::<u64>() > 1_000, "{taken:?}");
}
