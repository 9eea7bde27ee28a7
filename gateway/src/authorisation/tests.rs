//! Tests of who may come in, and when.

use jiff::{Timestamp, civil::date, tz::TimeZone};
use sluice_dsl::UserKind;

use super::*;

fn ada() -> Identity {
    Identity {
        issuer: "https://login.example.org".to_owned(),
        subject: "ada".to_owned(),
        user_id: "ada@example.org".to_owned(),
        email: None,
        kind: UserKind::Person,
        groups: vec!["support".to_owned()],
        roles: Vec::new(),
        actors: Vec::new(),
        token_id: None,
        expires: Timestamp::MAX,
    }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn patterns(list: &[&str]) -> Vec<Pattern> {
    list.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn table(number: usize) -> Allow {
    Allow { number, groups: None, kinds: None, purposes: None, times: Times::default() }
}

fn times(days: Option<&[&str]>, hours: Option<&str>, zone: &str) -> Times {
    Times {
        days: days.map(|days| days.iter().map(|day| day_named(day).unwrap()).collect()),
        hours: hours.map(|hours| Hours::parse(hours).unwrap()),
        until: None,
        zone: TimeZone::get(zone).unwrap(),
    }
}

fn unmet(times: &Times, at: &str) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    times.unmet(at.parse().unwrap(), &mut unmet);
    unmet
}

fn holds(times: &Times, at: &str) -> bool {
    unmet(times, at).is_empty()
}

#[test]
fn a_star_stands_for_any_characters_and_nothing_else_is_special() {
    let fits = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().fits(text);
    for (pattern, text) in
        [("fraud-*", "fraud-17"), ("fraud-*", "fraud-"), ("*", ""), ("a*b*c", "abbc"), ("a*ba", "aba"), ("x?", "x?")]
    {
        assert!(fits(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [
        ("fraud-*", "Fraud-17"),
        ("fraud", "fraud-17"),
        ("a*b*c", "acb"),
        ("a*ba", "ba"),
        ("ab*ba", "aba"),
        ("x?", "xy"),
    ] {
        assert!(!fits(pattern, text), "{pattern} {text}");
    }
    assert_eq!(Pattern::parse(" "), None);
}

#[test]
fn hours_are_two_times_of_day() {
    for good in ["08:00-18:00", "00:00-24:00", "22:00-06:00", "08:00 - 18:30", "08:00:05-18:00:59"] {
        let read = Hours::parse(good).unwrap();
        assert_eq!(read.to_string(), good.replace(' ', ""));
    }
    for bad in [
        "",
        "8-18",
        "08:00",
        "8:00-18:00",
        "08:60-18:00",
        "08:00:60-18:00",
        "08:00:00:00-18:00",
        "24:00:01-08:00",
        "24:00-08:00",
        "08:00-24:01",
        "+8:00-18:00",
        "a-b",
    ] {
        assert_eq!(Hours::parse(bad), Err(TimesError::Malformed), "{bad}");
    }
    assert_eq!(Hours::parse("08:00-08:00"), Err(TimesError::Empty));
}

#[test]
fn hours_are_those_of_the_time_zone_and_end_before_their_last_minute() {
    let office = times(Some(&["mon", "tue", "wed", "thu", "fri"]), Some("08:00-18:00"), "Europe/Berlin");
    // A Monday in winter: one hour ahead of UTC.
    for (at, is_in) in [
        ("2026-11-30T06:59:59Z", false),
        ("2026-11-30T07:00:00Z", true),
        ("2026-11-30T16:59:59Z", true),
        ("2026-11-30T17:00:00Z", false),
        // In summer two.
        ("2026-06-29T06:00:00Z", true),
        ("2026-06-29T16:00:00Z", false),
    ] {
        assert_eq!(holds(&office, at), is_in, "{at}");
    }
    assert_eq!(unmet(&office, "2026-11-29T12:00:00Z"), [Unmet::Days], "a Sunday");
    assert_eq!(unmet(&office, "2026-11-29T20:00:00Z"), [Unmet::Hours, Unmet::Days]);
}

#[test]
fn a_day_is_the_day_of_the_time_zone() {
    let monday = times(Some(&["mon"]), None, "Pacific/Auckland");
    // Monday there begins while it is Sunday in UTC, 13 hours before.
    assert!(!holds(&monday, "2026-11-29T10:59:59Z"));
    assert!(holds(&monday, "2026-11-29T11:00:00Z"));
    assert!(!holds(&monday, "2026-11-30T11:00:00Z"));
}

#[test]
fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
    let night = times(Some(&["fri"]), Some("22:00-06:00"), "UTC");
    // 27 November 2026 is a Friday.
    for (at, is_in) in [
        ("2026-11-27T05:00:00Z", false),
        ("2026-11-27T21:59:00Z", false),
        ("2026-11-27T22:00:00Z", true),
        ("2026-11-28T00:00:00Z", true),
        ("2026-11-28T05:59:59Z", true),
        ("2026-11-28T06:00:00Z", false),
        ("2026-11-28T22:00:00Z", false),
    ] {
        assert_eq!(holds(&night, at), is_in, "{at}");
    }
    let always = times(None, Some("22:00-06:00"), "UTC");
    assert!(holds(&always, "2026-11-27T05:00:00Z") && !holds(&always, "2026-11-27T12:00:00Z"));
}

#[test]
fn the_clock_on_the_wall_decides_when_it_is_put_forward_and_back() {
    let night = times(None, Some("02:00-03:00"), "Europe/Berlin");
    // On 29 March 2026 the clock goes from 02:00 to 03:00: the hour isn't there.
    for at in ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T01:59:59Z"] {
        assert!(!holds(&night, at), "{at}");
    }
    // On 25 October 2026 it goes from 03:00 to 02:00: the hour is there twice.
    for (at, is_in) in [
        ("2026-10-24T23:59:59Z", false),
        ("2026-10-25T00:00:00Z", true),
        ("2026-10-25T01:30:00Z", true),
        ("2026-10-25T02:00:00Z", false),
    ] {
        assert_eq!(holds(&night, at), is_in, "{at}");
    }
    // Hours around the change end by the clock, whatever has passed.
    let morning = times(None, Some("00:00-06:00"), "Europe/Berlin");
    assert!(holds(&morning, "2026-03-29T03:59:59Z") && !holds(&morning, "2026-03-29T04:00:00Z"));
}

#[test]
fn the_last_day_is_in_to_its_end() {
    let until = Times { until: Some(date(2026, 11, 30)), ..times(None, None, "America/New_York") };
    assert!(holds(&until, "2026-12-01T04:59:59Z"));
    assert_eq!(unmet(&until, "2026-12-01T05:00:00Z"), [Unmet::Until]);
    // Hours that go over midnight end with it.
    let night = Times { until: Some(date(2026, 11, 30)), ..times(None, Some("22:00-06:00"), "UTC") };
    assert!(holds(&night, "2026-11-30T23:59:59Z") && !holds(&night, "2026-12-01T00:00:00Z"));
}

#[test]
fn one_table_has_to_hold_with_all_it_says_and_groups_besides() {
    let support = Allow { groups: Some(texts(&["support"])), purposes: Some(patterns(&["ticket-*"])), ..table(1) };
    let jobs = Allow { kinds: Some(vec![UserKind::Service]), ..table(2) };
    let access = Access { allow: Some(vec![support, jobs].into()), purposes: None };
    let check = |groups: &[String], identity: &Identity, purpose| {
        let demands = Demands { groups, require_purpose: false, access: &access };
        demands.check(Asking { identity, purpose, at: Timestamp::now() })
    };
    let ticket = Stated::Known(Some("ticket-1"));
    assert_eq!(check(&[], &ada(), ticket), Ok(()));
    assert_eq!(check(&[], &ada(), Stated::Later), Ok(()), "each request will be asked");
    assert_eq!(check(&[], &ada(), Stated::Known(None)), Err(Refusal::PurposeMissing));
    let refusal = check(&[], &ada(), Stated::Known(Some("curiosity"))).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no `allow` table lets them in: table 1: not for its purposes; table 2: not of its kinds"
    );
    assert_eq!(check(&texts(&["hr"]), &ada(), ticket), Err(Refusal::Groups), "both have to hold");
    let job = Identity { kind: UserKind::Service, groups: Vec::new(), ..ada() };
    assert_eq!(check(&[], &job, Stated::Known(None)), Ok(()));
    assert_eq!(check(&texts(&["support"]), &job, ticket), Err(Refusal::Groups));
    // A stranger isn't told that a purpose would help.
    let stranger = Identity { groups: Vec::new(), ..ada() };
    assert!(matches!(check(&[], &stranger, Stated::Known(None)), Err(Refusal::NoTable(missed)) if missed.len() == 2));
}

#[test]
fn purposes_are_those_of_the_list_or_those_that_fit_as_a_whole() {
    let tickets = Purposes::new(patterns(&["fraud-*"]), Some("[A-Z]+-[0-9]+")).unwrap();
    for purpose in ["fraud-1", "OPS-17"] {
        assert!(tickets.accepts(purpose), "{purpose}");
    }
    for purpose in ["OPS-17 and more", "see OPS-17", "ops-17", "OPS-17\n", ""] {
        assert!(!tickets.accepts(purpose), "{purpose}");
    }
    assert_eq!(tickets.to_string(), "`fraud-*` or what fits /[A-Z]+-[0-9]+/");
    assert!(Purposes::new(Vec::new(), Some("^[A-Z]+-[0-9]+$")).unwrap().accepts("OPS-17"));
    // An alternative is part of the whole.
    assert!(!Purposes::new(Vec::new(), Some("a|b")).unwrap().accepts("ab"));
    assert!(Purposes::default().accepts("anything"));
    for bad in ["(", "a)|(b", "[", "(?x)a # b", "(?:a{1000}){1000}"] {
        assert!(Purposes::new(Vec::new(), Some(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_purpose_is_asked_for_after_everything_else() {
    let purposes = Purposes::new(patterns(&["audit"]), None).unwrap();
    let access = Access { allow: None, purposes: Some(Arc::new(purposes)) };
    let (identity, groups) = (ada(), texts(&["support"]));
    let demands = Demands { groups: &groups, require_purpose: true, access: &access };
    let check = |purpose| demands.check(Asking { identity: &identity, purpose, at: Timestamp::now() });
    assert_eq!(check(Stated::Known(Some("audit"))), Ok(()));
    assert_eq!(check(Stated::Known(None)), Err(Refusal::PurposeMissing));
    assert_eq!(check(Stated::Known(Some("fun"))), Err(Refusal::PurposeNotAccepted));
    let outside = Demands { groups: &texts(&["hr"]), ..demands };
    let asking = Asking { identity: &identity, purpose: Stated::Known(Some("fun")), at: Timestamp::now() };
    assert_eq!(outside.check(asking), Err(Refusal::Groups));
}

#[test]
fn an_explanation_names_each_table_and_what_it_misses() {
    let office = Allow { times: times(None, Some("08:00-18:00"), "UTC"), ..table(1) };
    let night = Allow { groups: Some(texts(&["oncall"])), ..table(2) };
    let access = Access { allow: Some(vec![office, night].into()), purposes: None };
    let demands = Demands { groups: &[], require_purpose: true, access: &access };
    let (identity, at) = (ada(), "2026-11-30T20:00:00Z".parse().unwrap());
    let explained = demands.explain(Asking { identity: &identity, purpose: Stated::Known(Some("audit")), at });
    assert!(!explained.let_in && explained.purpose_accepted == Some(true));
    let tables: Vec<_> = explained.allow.iter().map(|table| (table.number, table.unmet.clone())).collect();
    assert_eq!(tables, [(1, vec!["hours"]), (2, vec!["groups"])]);
    assert_eq!(explained.allow[0].asks, "08:00-18:00 (UTC)");
}
