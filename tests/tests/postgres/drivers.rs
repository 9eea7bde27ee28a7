//! Drivers: the extended protocol as tokio-postgres, psycopg, node-postgres and JDBC speak it, with binary values, batches and COPY.

use std::ffi::OsStr;
use std::time::Duration;

use super::scene::{RULES, Scene, client};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use sluice_tests::place;
use sluice_tests::postgres::{DATABASE, PASSWORD, USER};
use sluice_tests::program::{command, run};
use sluice_tests::sluice::Rules;
use tokio_postgres::binary_copy::BinaryCopyOutStream;
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, SimpleQueryMessage, error::SqlState};

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_reads_masked_values_in_the_binary_format() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let mut client = client(&scene).await;
    let rows =
        client.query("SELECT id, email, pan, tags FROM customer WHERE id <= $1 ORDER BY id", &[&2_i32]).await.unwrap();
    type Read<'a> = (i32, Option<&'a str>, Option<&'a str>, Option<Vec<String>>);
    let read: Vec<Read<'_>> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    assert_eq!(read[0], (1, Some("[email]"), Some("**** **** **** 1111"), Some(vec!["[email]".into(), "vip".into()])));
    assert_eq!(read[1], (2, Some("[email]"), None, Some(vec![])));
    // A number that a rule masks is none any more.
    let row = client.query_one("SELECT 7::int8 AS pan, 7::int8 AS n", &[]).await.unwrap();
    assert_eq!((row.get::<_, Option<i64>>(0), row.get::<_, Option<i64>>(1)), (None, Some(7)));

    let refused = client.prepare("DROP TABLE customer").await.unwrap_err();
    let told = refused.as_db_error().unwrap_or_else(|| panic!("{refused:?} {}", scene.sluice.log()));
    assert_eq!(told.code(), &SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(told.hint(), Some("Rule no_destructive_sql (T-1) of pack tests.pg."));
    let secret = client.query("SELECT $1::text", &[&"SECRET-1234"]).await.unwrap_err();
    assert!(secret.as_db_error().unwrap().message().contains("no_secret"), "{secret}");
    let duplicate = client.execute("INSERT INTO customer VALUES (7, 'x', 'ada@example.org')", &[]).await.unwrap_err();
    assert_eq!(duplicate.as_db_error().unwrap().code(), &SqlState::UNIQUE_VIOLATION);
    assert!(!duplicate.as_db_error().unwrap().detail().unwrap_or("").contains("ada@"), "{duplicate:?}");

    // The session goes on: statements at once, a transaction, a portal in pieces, COPY both ways.
    let (one, two) = tokio::join!(client.query_one("SELECT 1", &[]), client.query_one("SELECT $1::int4", &[&2_i32]));
    assert_eq!((one.unwrap().get::<_, i32>(0), two.unwrap().get::<_, i32>(0)), (1, 2));
    let transaction = client.transaction().await.unwrap();
    transaction.execute("UPDATE customer SET name = 'Zed' WHERE id = 2", &[]).await.unwrap();
    let portal = transaction.bind("SELECT n FROM numbers ORDER BY n LIMIT 250", &[]).await.unwrap();
    let mut read = 0;
    loop {
        let rows = transaction.query_portal(&portal, 100).await.unwrap();
        read += rows.len();
        if rows.is_empty() {
            break;
        }
    }
    assert_eq!(read, 250);
    transaction.rollback().await.unwrap();
    let simple = client.simple_query("SELECT name FROM customer WHERE id = 2").await.unwrap();
    let name = simple.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    assert_eq!(name, Some("Bob"));
    let sink = client.copy_in("COPY customer (id, name, email) FROM STDIN").await.unwrap();
    futures_util::pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"50\tKim\tkim@example.org\n51\tLou\t\\N\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    let sink = client.copy_in::<_, bytes::Bytes>("COPY customer (id, name) FROM STDIN").await.unwrap();
    futures_util::pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"60\tSECRET-")).await.unwrap();
    sink.send(bytes::Bytes::from_static(b"1234\n")).await.unwrap();
    let refused = sink.finish().await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("no_secret"), "{refused}");
    let out = client.copy_out("COPY (SELECT id, email FROM customer WHERE id = 50) TO STDOUT").await;
    assert!(out.is_err(), "it names no columns");
    let out = client.copy_out("COPY customer (id, email) TO STDOUT").await.unwrap();
    let copied: Vec<bytes::Bytes> = out.try_collect().await.unwrap();
    let copied = String::from_utf8(copied.concat()).unwrap();
    assert!(copied.contains("50\t[email]\n51\t\\N\n") && !copied.contains("60\t"), "{copied}");
    let out = client.copy_out("COPY customer (id, email, pan, doc) TO STDOUT (FORMAT binary)").await.unwrap();
    let types = [Type::INT4, Type::TEXT, Type::TEXT, Type::JSONB];
    let rows: Vec<_> = BinaryCopyOutStream::new(out, &types).try_collect().await.unwrap();
    let first = (rows[0].get::<i32>(0), rows[0].get::<Option<&str>>(1), rows[0].get::<Option<&str>>(2));
    assert_eq!(first, (1, Some("[email]"), Some("**** **** **** 1111")));
    assert_eq!((rows.len(), rows[1].get::<Option<&str>>(2)), (5, None));
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_come_masked_and_large_results_whole() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let target = scene.target("sslmode=disable");
    let mut config: tokio_postgres::Config = target.parse().unwrap();
    config.password(scene.token().await);
    let (client, mut connection) = config.connect(NoTls).await.unwrap();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let tokio_postgres::AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.payload().to_owned());
            }
        }
    });
    client.batch_execute("LISTEN news").await.unwrap();
    client.batch_execute("NOTIFY news, 'mail from ada@example.org'").await.unwrap();
    let payload = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await.unwrap().unwrap();
    assert_eq!(payload, "mail from [email]");
    let rows = client.query("SELECT n, hash FROM numbers ORDER BY n", &[]).await.unwrap();
    assert_eq!(rows.len(), 20_000);
    let sum: i64 = rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).sum();
    assert_eq!(sum, 20_000 * 20_001 / 2);
    scene.sluice.stop().await;
}

/// Runs a client of another language on both ways: without rules it prints the same.
async fn same<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S> + Clone) {
    let scene = Scene::with(Rules::None).await;
    let start = async |port: u16, user: &str, password: &str| {
        let mut client = command(&program, args.clone());
        client.envs([("PGHOST", "127.0.0.1"), ("PGDATABASE", DATABASE), ("PGSSLMODE", "disable"), ("PGUSER", user)]);
        client.env("PGPORT", port.to_string()).env("PGPASSWORD", password);
        let done = run(client, "", Duration::from_secs(120)).await;
        assert_eq!(done.code, Some(0), "{}\n{}", done.text(), done.stderr);
        done.text().to_owned()
    };
    let direct = start(scene.postgres.port, USER, PASSWORD).await;
    let through = start(scene.port, "ada", &scene.token().await).await;
    assert!(direct.lines().count() > 10, "{direct}");
    assert_eq!(through, direct);
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_does_the_same_as_directly() {
    same(place::python("postgres", "python"), [place::clients("client_psycopg.py")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libpq_18_speaks_the_newest_protocol_cancels_by_long_keys_and_brings_a_token_by_oauthbearer() {
    let scene = Scene::with(Rules::Text(RULES.to_owned())).await;
    let mut client = command(place::python("postgres", "python"), [place::clients("client_libpq.py")]);
    client.envs([("PGHOST", "127.0.0.1"), ("PGDATABASE", "crm"), ("PGSSLMODE", "disable"), ("PGUSER", "ada")]);
    client.env("PGPORT", scene.port.to_string()).env("SLUICE_TOKEN", scene.token().await);
    // The issuer of the tests speaks HTTP on loopback, which libpq allows only so.
    client.env("SLUICE_ISSUER", &scene.sluice.issuer().url).env("PGOAUTHDEBUG", "UNSAFE");
    let done = run(client, "", Duration::from_secs(60)).await;
    let through = |version: &str| format!("{version} ('[email]',)\ncancelled True\n(1,)\n");
    let all = ["3.0 30000", "3.2 30002", "latest 30002"].map(through);
    let asked = all.iter().map(|one| format!("asked by openid-configuration\n{one}")).collect::<String>();
    assert_eq!(done.text(), format!("libpq 18\n{}{asked}", all.concat()), "{}\n{}", done.stderr, scene.sluice.log());
    scene.sluice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres_does_the_same_as_directly() {
    same(place::node(), [place::clients("client-pg.mjs")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_does_the_same_as_directly_in_each_of_its_modes() {
    same("java", ["-cp".into(), place::jdbc(), place::clients("Client.java")]).await;
}
