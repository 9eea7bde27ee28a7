//! What the Open Cybersecurity Schema Framework asks of an event (schema.ocsf.io, version 1.3.0): for the classes that are exported.

use serde_json::Value;

/// What every event has.
const ALL: &[&str] = &[
    "activity_id",
    "category_uid",
    "class_uid",
    "metadata.product",
    "metadata.version",
    "severity_id",
    "time",
    "type_uid",
];
/// What events of a class have besides, and the activities that there are beside 0 and 99.
const CLASSES: &[(u64, &[&str], u64)] = &[
    (3002, &["user", "service.name"], 7),
    (3004, &["entity.name"], 13),
    (4001, &["src_endpoint"], 7),
    (6003, &["actor", "api.operation", "src_endpoint"], 4),
    (6005, &["actor", "src_endpoint", "database.type_id"], 10),
];

/// Checks an event.
///
/// # Panics
/// If it isn't one.
pub fn assert_valid(event: &Value) {
    let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("{name} of {event}"));
    let (class, activity) = (number("class_uid"), number("activity_id"));
    let known = CLASSES.iter().find(|(known, ..)| *known == class);
    let (_, own, activities) = known.unwrap_or_else(|| panic!("the class of {event}"));
    for path in ALL.iter().chain(*own) {
        let value = path.split('.').fold(event, |value, name| &value[name]);
        assert!(!value.is_null(), "{path} of {event}");
    }
    assert!(activity <= *activities || activity == 99, "the activity of {event}");
    assert_eq!((number("category_uid"), number("type_uid")), (class / 1000, class * 100 + activity), "{event}");
    assert!((1..=6).contains(&number("severity_id")), "{event}");
    assert_eq!(event["time"].as_u64().unwrap().to_string().len(), 13, "milliseconds: {event}");
    let ways = ["user", "session"].iter().filter(|name| event["actor"].get(**name).is_some());
    assert!(event.get("actor").is_none() || ways.count() > 0, "the actor of {event}");
    assert_no_null(event);
}

fn assert_no_null(value: &Value) {
    match value {
        Value::Null => panic!("the schema has no null"),
        Value::Array(list) => list.iter().for_each(assert_no_null),
        Value::Object(map) => map.values().for_each(assert_no_null),
        _ => {}
    }
}
