//! Tests of the search: each filter finds what it says and nothing else, and an index that is made anew answers the same.

use std::fs;

use super::*;

fn request(method: &str, name: &str, body: &str, outcome: RequestOutcome, hits: Vec<HitRecord>) -> Event {
    let (name, body) = (Some(name.to_owned()), body.to_owned());
    Event::Request { exchange: 1, method: method.to_owned(), name, body, purpose: None, outcome, hits, approval: None }
}

fn hit(rule: &str, id: &str, detail: &str) -> HitRecord {
    HitRecord {
        rule: rule.to_owned(),
        id: Some(id.to_owned()),
        pack: "tests".to_owned(),
        action: "block".to_owned(),
        message: None,
        detail: Some(detail.to_owned()),
    }
}

fn opened(user: &str, connection: &str, protocol: &str) -> Event {
    Event::SessionOpened {
        user: user.to_owned(),
        email: None,
        kind: "person".to_owned(),
        groups: vec![format!("friends of {user}"), "all".to_owned()],
        roles: Vec::new(),
        actors: Vec::new(),
        token_id: None,
        issuer: "test".to_owned(),
        subject: user.to_owned(),
        connection: connection.to_owned(),
        purpose: Some(format!("ticket {user}*?[1]")),
        client: None,
        ip: None,
        protocol: protocol.to_owned(),
        rules_digest: "none".to_owned(),
    }
}

fn seen(rule: &str, pattern: &str) -> Event {
    let decision = DecisionRecord {
        rule: rule.to_owned(),
        id: Some(format!("{rule}-1")),
        pattern: pattern.to_owned(),
        action: "mask".to_owned(),
        count: 2,
    };
    Event::Response {
        exchange: 1,
        status: 0,
        body: "tag: tables stand in SELECT 1 FROM nowhere".to_owned(),
        part: 0,
        last: true,
        decisions: vec![decision],
        outcome: ResponseOutcome::Complete,
        reason: None,
    }
}

/// One of SQL by ada, then one of MCP by bob a day later.
async fn store() -> (tempfile::TempDir, [SessionId; 2]) {
    let place = tempfile::tempdir().unwrap();
    let evidence = Evidence::open(place.path().join("evidence")).unwrap();
    let sql = "SELECT * FROM shop.\"Customer\" JOIN orders USING (id)";
    let ada = [
        opened("ada", "crm", "postgres"),
        request("query", "select insert", sql, RequestOutcome::Forwarded, vec![]),
        request("execute", "delete", "no SQL FROM elsewhere", RequestOutcome::Forwarded, vec![]),
        seen("mask_email", "std.pii.email"),
    ];
    let bob = [
        opened("bob", "tickets", "mcp"),
        request(
            "tools/call",
            "query",
            "SELECT 1 FROM invented",
            RequestOutcome::Refused,
            vec![hit("none", "T-9", "x.pan")],
        ),
    ];
    // Identifiers sort by time, to the millisecond.
    let ids = [SessionId::generate(), {
        std::thread::sleep(std::time::Duration::from_millis(2));
        SessionId::generate()
    }];
    for (id, events, day) in [(&ids[0], ada.to_vec(), "2026-11-01"), (&ids[1], bob.to_vec(), "2026-11-02")] {
        for event in events {
            let record = Record { session: id.clone(), at: format!("{day}T12:00:00Z").parse().unwrap(), event };
            evidence.append(record).await.unwrap();
        }
    }
    (place, ids)
}

fn name(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[tokio::test]
async fn each_filter_finds_its_sessions_also_with_an_index_made_anew() {
    let (place, [ada, bob]) = store().await;
    let path = place.path().join("evidence");
    let [a, b, both, none]: [&[&SessionId]; 4] = [&[&ada], &[&bob], &[&bob, &ada], &[]];
    let all = Search::default;
    let at = |day: &str| Some(format!("{day}T00:00:00Z").parse().unwrap());
    let cases = [
        (all(), both),
        (Search { user: name("ada"), ..all() }, a),
        (Search { user: name("ad"), ..all() }, none),
        (Search { user: name("*"), ..all() }, both),
        (Search { connection: name("tick*"), ..all() }, b),
        (Search { group: name("friends of b*"), ..all() }, b),
        (Search { group: name("all"), ..all() }, both),
        (Search { purpose: name("ticket ada*?[*"), ..all() }, a),
        (Search { purpose: name("ticket ?da*"), ..all() }, none),
        (Search { tool: name("query"), ..all() }, b),
        (Search { tool: name("select*"), ..all() }, none),
        (Search { table: name("shop.Customer"), ..all() }, a),
        (Search { table: name("orders"), ..all() }, a),
        (Search { table: name("customer"), ..all() }, none),
        (Search { table: name("invented"), ..all() }, none),
        (Search { table: name("elsewhere"), ..all() }, none),
        (Search { verb: name("insert"), ..all() }, a),
        (Search { verb: name("del*"), ..all() }, a),
        (Search { verb: name("drop"), ..all() }, none),
        (Search { rule: name("T-9"), ..all() }, b),
        (Search { rule: name("mask_email"), ..all() }, a),
        (Search { rule: name("mask_email-1"), ..all() }, a),
        (Search { rule: name("std.pii.email"), ..all() }, none),
        (Search { entity: name("std.pii.*"), ..all() }, a),
        (Search { entity: name("x.pan"), ..all() }, b),
        (Search { outcome: Some(RequestOutcome::Forwarded), ..all() }, a),
        (Search { outcome: Some(RequestOutcome::Refused), ..all() }, b),
        (Search { outcome: Some(RequestOutcome::Held), ..all() }, none),
        (Search { since: at("2026-11-02"), ..all() }, b),
        (Search { until: at("2026-11-02"), ..all() }, a),
        (Search { since: at("2026-11-03"), ..all() }, none),
        (Search { limit: Some(1), ..all() }, b),
        (Search { user: name("ada"), table: name("orders"), entity: name("std.*"), ..all() }, a),
        (Search { user: name("ada"), tool: name("query"), ..all() }, none),
    ];
    let check = |state: &str| {
        let reader = Reader::open(&path).unwrap();
        for (search, expected) in &cases {
            let found: Vec<String> = reader.find(search).unwrap().into_iter().map(|found| found.session).collect();
            let expected: Vec<&str> = expected.iter().map(|id| id.as_str()).collect();
            assert_eq!(found, expected, "{state}: {search:?}");
        }
    };
    check("as it was filled");
    let index = path.join("index.sqlite");
    fs::remove_file(&index).unwrap();
    check("made anew");
    let old = rusqlite::Connection::open(&index).unwrap();
    old.execute_batch("PRAGMA user_version = 1; DROP TABLE clue; DROP TABLE name;").unwrap();
    drop(old);
    check("of an earlier layout");
}

/// Not a test but a measure: `SLUICE_RECORDS=1000000 cargo test -p sluice-gateway a_search_over_many_records -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measure, of a million records"]
async fn a_search_over_many_records() {
    let records: usize = std::env::var("SLUICE_RECORDS").ok().and_then(|number| number.parse().ok()).unwrap_or(100_000);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("evidence");
    let evidence = Evidence::open(&path).unwrap();
    // Of ten records: four statements with their answers between the beginning and the end of a session.
    for number in 0..records / 10 {
        let (id, user) = (SessionId::generate(), format!("user{}@example.org", number % 5000));
        let mut events = vec![opened(&user, ["crm", "shop", "erp"][number % 3], "postgres")];
        for command in 0..4 {
            let table = (number * 7 + command) % 2000;
            let sql = format!("SELECT id, name FROM shop.table{table} WHERE city = 'Berlin' ORDER BY id LIMIT 100");
            let is_rare = number % 10_000 == 77;
            let (outcome, hits) = match is_rare {
                true => (RequestOutcome::Refused, vec![hit("no_destructive_sql", "SLU-1", "sql.verb = drop")]),
                false => (RequestOutcome::Forwarded, Vec::new()),
            };
            events.extend([request("query", "select", &sql, outcome, hits), seen("mask_email", "std.pii.email")]);
        }
        events.push(Event::SessionClosed { reason: "the client ended it".to_owned() });
        evidence.append_all(events.into_iter().map(|event| Record::now(id.clone(), event)).collect()).await.unwrap();
    }
    drop(evidence);
    fs::remove_file(path.join("index.sqlite")).unwrap();
    let start = std::time::Instant::now();
    let reader = Reader::open(&path).unwrap();
    let took = start.elapsed().as_secs_f64();
    let size = fs::metadata(path.join("index.sqlite")).unwrap().len() >> 20;
    println!("index of {records} records made anew: {:.0} records a second, {size} MiB", records as f64 / took);
    let all = Search::default;
    for (what, search) in [
        ("a rule that hit rarely", Search { rule: name("SLU-1"), ..all() }),
        ("a table", Search { table: name("shop.table77"), ..all() }),
        ("many tables", Search { table: name("shop.table1*"), ..all() }),
        ("a user and an entity", Search { user: name("user77@*"), entity: name("std.pii.email"), ..all() }),
        ("what holds of all, the newest 100", Search { entity: name("std.*"), limit: Some(100), ..all() }),
        ("what holds of nearly all, twice", Search { entity: name("std.*"), verb: name("select"), ..all() }),
        ("what holds of none", Search { entity: name("std.*"), table: name("none"), ..all() }),
    ] {
        let start = std::time::Instant::now();
        let found = reader.find(&search).unwrap().len();
        println!("{what}: {found} sessions, {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    }
}
