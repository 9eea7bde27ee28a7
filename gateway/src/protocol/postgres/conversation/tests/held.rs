//! Commands that wait for an approval, as the conversation has them.

use super::*;

/// The one message that these bytes are.
fn only(bytes: &Bytes) -> crate::protocol::postgres::frame::Message {
    let mut frames = Frames::default();
    frames.push(bytes);
    frames.next_message().unwrap().unwrap()
}

impl Play {
    /// Gives a message that has to wait; what it waits with.
    fn held(&mut self, bytes: &Bytes) -> Hold {
        let sent = self.conversation.client(&only(bytes)).unwrap().unwrap();
        assert!(sent.records.is_empty() && sent.upstream.is_empty(), "what waits is nowhere");
        *sent.hold.expect("it waits")
    }
}

fn clears(hold: &Hold) -> (String, Verdict) {
    (hold.command.hash.clone(), Verdict::Cleared("ap-1".to_owned()))
}

#[test]
fn a_query_waits_whole_and_a_decision_is_about_that_command_and_counts_once() {
    let mut play = Play::new();
    let (delete, other) = (query("DELETE FROM t WHERE id = 1"), query("DELETE FROM t WHERE id = 2"));
    let hold = play.held(&delete);
    assert_eq!(hold.command.text, "DELETE FROM t WHERE id = 1");
    assert_eq!((&hold.command.facts["verbs"][0], &hold.command.facts["has_where"]), (&"delete".into(), &true.into()));
    let (hash, verdict) = clears(&hold);
    play.conversation.decided(hash.clone(), verdict);
    // It is not the one that comes next: that one waits, and the decision is spent.
    play.held(&other);
    play.held(&delete);
    play.conversation.decided(hash, Verdict::Cleared("ap-2".to_owned()));
    assert!(play.client(&delete));
    assert_eq!(play.sent(), "Q");
    assert!(matches!(&play.records[..], [Event::Request { approval: Some(id), .. }] if id == "ap-2"));
    play.held(&delete);
}

#[test]
fn what_is_denied_is_answered_like_any_refusal() {
    let mut play = Play::new();
    let delete = query("DELETE FROM t");
    let hold = play.held(&delete);
    let report = Report::error("42501", "denied");
    play.conversation.decided(hold.command.hash, Verdict::Refused(Some("ap-1".to_owned()), report));
    assert!(play.client(&delete));
    assert_eq!((play.sent().as_str(), play.got().as_str()), ("", "EZ"));
    assert_eq!(play.outcomes(), [RequestOutcome::Refused]);
    assert!(play.client(&query("SELECT 1")));
    assert_eq!(play.sent(), "Q");
}

#[test]
fn each_execution_is_approved_with_its_parameters_and_a_portal_goes_on_by_one() {
    let mut play = Play::new();
    let delete = "DELETE FROM t WHERE id = $1 RETURNING id";
    assert!(play.client(&all(&[parse("", delete), bind("", "", &["7"])])));
    assert_eq!(play.sent(), "PB", "neither runs anything");
    let hold = play.held(&execute(""));
    assert_eq!(hold.command.text, format!("{delete}\n-- parameters: [\"7\"]"));
    let (hash, verdict) = clears(&hold);
    play.conversation.decided(hash, verdict);
    assert!(play.client(&execute("")));
    // The rest of its rows, and then the same with another parameter.
    assert!(play.client(&all(&[execute(""), sync()])));
    assert!(play.client(&bind("", "", &["8"])));
    let again = play.held(&execute(""));
    assert_ne!(again.command.hash, hold.command.hash);
    // A binary parameter that is shown alike is another one all the same.
    assert!(play.client(&bind("", "", &["7"])));
    assert_eq!(play.held(&execute("")).command.hash, hold.command.hash);
}

#[test]
fn what_is_kept_under_a_name_is_refused_and_what_has_none_is_never_forgotten() {
    for refused in
        [all(&[parse("s", "DELETE FROM t"), sync()]), all(&[parse("", "DELETE FROM t"), bind("p", "", &[]), sync()])]
    {
        let mut play = Play::new();
        assert!(play.client(&refused));
        assert!(play.outcomes().contains(&RequestOutcome::Refused));
    }
    let mut play = Play::new();
    assert!(play.client(&query("PREPARE p AS DELETE FROM t")));
    assert_eq!(play.outcomes(), [RequestOutcome::Refused]);

    let mut play = Play::new();
    assert!(play.client(&parse("", "DELETE FROM t")));
    for number in 0..=MAX_NAMES {
        assert!(play.client(&parse(&format!("s{number}"), "SELECT 1")));
        play.server(&message(b'1', b""));
    }
    assert!(play.client(&bind("", "", &[])));
    play.held(&execute(""));
}

#[test]
fn a_notice_reaches_the_client_while_its_command_waits() {
    let mut play = Play::new();
    play.held(&query("DELETE FROM t"));
    play.conversation.notify(&Report::notice("it waits"));
    let mut out = Out::default();
    play.conversation.settle(&mut out);
    play.take(out);
    assert!(has(&play.client, "it waits"));
    assert_eq!(play.got(), "N");
}
