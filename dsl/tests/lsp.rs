//! The language server, driven as an editor drives it: the real program, its standard input and output, and a script.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Far longer than any answer takes; a server that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// An editor with a folder of rules.
struct Editor {
    folder: tempfile::TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    heard: Receiver<Value>,
    /// What was heard while something else was waited for.
    kept: Vec<Value>,
    last: i64,
}

impl Editor {
    /// Starts the server and shakes hands; files stand in the folder already.
    fn start(files: &[(&str, &str)]) -> Self {
        let mut editor = Self::silent(files);
        let root = editor.uri("");
        let able = editor.ask(
            "initialize",
            json!({ "processId": null, "rootUri": root, "capabilities": {
                "textDocument": { "completion": { "completionItem": { "snippetSupport": true } } },
                "workspace": { "didChangeWatchedFiles": { "dynamicRegistration": true } },
            }}),
        );
        assert_eq!(able["result"]["serverInfo"]["name"], "rulec");
        assert_eq!(able["result"]["capabilities"]["positionEncoding"], "utf-16");
        editor.tell("initialized", json!({}));
        editor
    }

    /// Starts the server and says nothing.
    fn silent(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_rulec"))
            .arg("lsp")
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rulec starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (send, heard) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            while let Some(message) = receive(&mut reader) {
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { folder, child, stdin, heard, kept: Vec::new(), last: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it exists").join(name)
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("not closed");
        stdin.write_all(format!("Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).expect("it listens");
        stdin.flush().expect("it listens");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string());
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        self.wait(|message| message["id"] == id && message.get("method").is_none())
    }

    /// The first message that fits, of those heard or to come.
    fn wait(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.kept.iter().position(&fits) {
            return self.kept.remove(at);
        }
        loop {
            let message = self.heard.recv_timeout(PATIENCE).expect("the server answers");
            if fits(&message) {
                return message;
            }
            self.kept.push(message);
        }
    }

    fn open(&mut self, name: &str, text: &str) {
        let document = json!({ "uri": self.uri(name), "languageId": "sluice-rules", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
    }

    /// The findings for a version of a file.
    fn findings(&mut self, name: &str, version: i64) -> Vec<Value> {
        let uri = self.uri(name);
        let message = self.wait(|message| {
            message["method"] == "textDocument/publishDiagnostics"
                && message["params"]["uri"] == uri
                && message["params"]["version"] == version
        });
        message["params"]["diagnostics"].as_array().expect("a list").clone()
    }

    /// Asks about a place of a file that is open.
    fn at(&mut self, method: &str, name: &str, (line, character): (u32, u32)) -> Value {
        let uri = self.uri(name);
        let place = json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": character } });
        self.ask(&format!("textDocument/{method}"), place)
    }

    /// Says goodbye as the protocol wants it; the exit code.
    fn leave(mut self) -> Option<i32> {
        assert_eq!(self.ask("shutdown", Value::Null)["result"], Value::Null);
        self.tell("exit", Value::Null);
        self.code()
    }

    fn code(&mut self) -> Option<i32> {
        self.stdin = None;
        let end = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server doesn't end");
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn receive(reader: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn codes(findings: &[Value]) -> Vec<&str> {
    findings.iter().filter_map(|finding| finding["code"].as_str()).collect()
}

/// Puts edits of the protocol into a text of ASCII.
fn edited(text: &str, edits: &Value) -> String {
    let place = |position: &Value| {
        let number = |name: &str| position[name].as_u64().expect("a number");
        let (line, character) = (number("line"), number("character"));
        let start: usize = text.split_inclusive('\n').take(line as usize).map(str::len).sum();
        start + character as usize
    };
    let mut edits: Vec<_> = edits.as_array().expect("a list").iter().collect();
    edits.sort_by_key(|edit| std::cmp::Reverse(place(&edit["range"]["start"])));
    let mut out = text.to_owned();
    for edit in edits {
        let range = &edit["range"];
        out.replace_range(place(&range["start"])..place(&range["end"]), edit["newText"].as_str().expect("text"));
    }
    out
}

const STAFF: &str = "language 1\n\npattern staff_id = /\\bEMP-[0-9]{6}\\b/\n\n# Staff numbers are internal.\nrule mask_staff { on response match staff_id then mask redact(with: \"[staff]\") }\n";

#[test]
fn findings_follow_what_is_typed() {
    let mut editor = Editor::start(&[]);
    editor.open(
        "a.rules",
        "language 1\nlist l = [\"\"] rule r { on response match staf_id then alert }\npattern staff_id = /EMP-[0-9]{6}/\n",
    );
    let found = editor.findings("a.rules", 1);
    let unknown = found.iter().find(|f| f["range"]["start"] == json!({ "line": 1, "character": 41 })).expect("found");
    assert_eq!(unknown["severity"], 1);
    assert_eq!(unknown["source"], "rulec");
    assert!(unknown["message"].as_str().unwrap().contains("staf_id"), "{unknown}");

    // Behind a character of two units of UTF-16 on its line.
    let uri = editor.uri("a.rules");
    let edit = |line: u32, from: u32, to: u32, text: &str| json!({ "range": { "start": { "line": line, "character": from }, "end": { "line": line, "character": to } }, "text": text });
    let changes = json!([edit(1, 11, 11, "😀"), edit(1, 43, 50, "staff_id")]);
    editor.tell(
        "textDocument/didChange",
        json!({ "textDocument": { "uri": uri, "version": 2 }, "contentChanges": changes }),
    );
    let found = editor.findings("a.rules", 2);
    assert!(found.iter().all(|f| f["severity"] != 1), "{found:?}");

    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    let gone =
        editor.wait(|m| m["method"] == "textDocument/publishDiagnostics" && m["params"]["diagnostics"] == json!([]));
    assert_eq!(gone["params"]["uri"], uri);
    assert_eq!(editor.leave(), Some(0));
}

#[test]
fn a_finding_about_two_places_shows_both() {
    let mut editor = Editor::start(&[]);
    editor.open(
        "a.rules",
        "language 1\npattern one = /a[0-9]/\npattern one = /b[0-9]/\nrule r { on response match one then alert }\n",
    );
    let found = editor.findings("a.rules", 1);
    let twice = found.iter().find(|f| f["relatedInformation"].is_array()).unwrap_or_else(|| panic!("{found:?}"));
    let uri = editor.uri("a.rules");
    assert_eq!(twice["range"]["start"]["line"], 2);
    assert_eq!(twice["relatedInformation"][0]["location"]["uri"], uri);
    assert_eq!(twice["relatedInformation"][0]["location"]["range"]["start"]["line"], 1);
}

#[test]
fn hovering_says_what_a_rule_does_and_what_it_costs() {
    let mut editor = Editor::start(&[]);
    editor.open("staff.rules", STAFF);
    let rule = editor.at("hover", "staff.rules", (5, 7));
    let text = rule["result"]["contents"]["value"].as_str().expect("Markdown").to_owned();
    assert!(text.contains("On responses, looks for `staff_id` and puts `\"[staff]\"` in its place."), "{text}");
    assert!(text.contains("Holds back at most"), "{text}");
    assert!(text.contains("Staff numbers are internal."), "{text}");
    let pattern = editor.at("hover", "staff.rules", (2, 10));
    assert!(pattern["result"]["contents"]["value"].as_str().unwrap().contains("EMP-[0-9]{6}"), "{pattern}");
    let keyword = editor.at("hover", "staff.rules", (5, 1));
    assert!(keyword["result"]["contents"]["value"].as_str().unwrap().starts_with("**`rule`**"), "{keyword}");
    assert_eq!(editor.at("hover", "staff.rules", (1, 0))["result"], Value::Null, "an empty line is nothing");
    assert!(editor.at("hover", "staff.rules", (99, 99)).get("error").is_none(), "past the end is nothing, no error");
}

#[test]
fn what_fits_is_offered() {
    let mut editor = Editor::start(&[]);
    let text = "language 1\nimport std.pii \"1\"\nscope s { user.group has [\"dba\"] and  }\nrule r { on response match  then mask  }\n";
    editor.open("a.rules", text);
    let labels = |answer: Value| -> Vec<String> {
        let items = answer["result"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        items.iter().map(|item| item["label"].as_str().expect("a label").to_owned()).collect()
    };
    let has = |labels: &[String], wanted: &str| assert!(labels.iter().any(|l| l == wanted), "{wanted}: {labels:?}");
    let fields = labels(editor.at("completion", "a.rules", (2, 37)));
    has(&fields, "tool.name");
    has(&fields, "user.group");
    let patterns = labels(editor.at("completion", "a.rules", (3, 27)));
    has(&patterns, "std.pii.email");
    has(&patterns, "std.secrets.jwt");
    let masks = labels(editor.at("completion", "a.rules", (3, 38)));
    has(&masks, "redact");
    assert!(!masks.contains(&"tool.name".to_owned()), "{masks:?}");

    // Groups that are spoken of elsewhere.
    editor.open("b.rules", "language 1\nimport \"./a.rules\" as a\nscope t { user.group has [\"dba\", \"dpo\"] }\nscope u { user.group has [\"\"] }\n");
    let groups = labels(editor.at("completion", "b.rules", (3, 27)));
    has(&groups, "dba");
    has(&groups, "dpo");
    assert_eq!(editor.leave(), Some(0));
}

#[test]
fn a_name_leads_to_its_declaration_in_files_and_in_packs() {
    let mut editor =
        Editor::start(&[("org.rules", "language 1\nlist hosts = [\"db-1\"]\npattern ticket = /SEC-[0-9]{3,6}/\n")]);
    let text = "language 1\nimport \"./org.rules\" as org\nimport std.pii \"1\"\nrule r { on response match org.ticket, std.pii.email then alert }\n";
    editor.open("a.rules", text);
    let there = editor.at("definition", "a.rules", (3, 33));
    let org = editor.uri("org.rules");
    assert_eq!(there["result"]["uri"], org, "{there}");
    assert_eq!(there["result"]["range"]["start"], json!({ "line": 2, "character": 8 }));

    let pack = editor.at("definition", "a.rules", (3, 50));
    let uri = pack["result"]["uri"].as_str().unwrap_or_else(|| panic!("{pack}")).to_owned();
    let text = std::fs::read_to_string(uri.strip_prefix("file://").expect("a file")).expect("it was written");
    let line = pack["result"]["range"]["start"]["line"].as_u64().unwrap() as usize;
    assert!(text.lines().nth(line).expect("a line").starts_with("pattern email"), "{uri}");

    let uses = editor.ask(
        "textDocument/references",
        json!({ "textDocument": { "uri": editor.uri("a.rules") }, "position": { "line": 3, "character": 33 },
            "context": { "includeDeclaration": true } }),
    );
    assert_eq!(uses["result"].as_array().map(Vec::len), Some(2), "{uses}");
    let highlights = editor.at("documentHighlight", "a.rules", (3, 33));
    assert_eq!(highlights["result"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_new_name_goes_to_every_file_or_nowhere() {
    let org = "language 1\npattern ticket = /SEC-[0-9]{3,6}/\npattern other = /X[0-9]{3}/\n";
    let mut editor = Editor::start(&[("org.rules", org)]);
    let text = "language 1\nimport \"./org.rules\" as org\nrule r { on response match org.ticket then alert }\n";
    editor.open("a.rules", text);
    let rename = |editor: &mut Editor, to: &str| {
        let uri = editor.uri("a.rules");
        let place =
            json!({ "textDocument": { "uri": uri }, "position": { "line": 2, "character": 33 }, "newName": to });
        editor.ask("textDocument/rename", place)
    };
    let done = rename(&mut editor, "case_id");
    let changes = &done["result"]["changes"];
    assert_eq!(edited(text, &changes[editor.uri("a.rules")]), text.replace("ticket", "case_id"), "{done}");
    assert_eq!(edited(org, &changes[editor.uri("org.rules")]), org.replace("ticket", "case_id"));
    for (taken, says) in [("other", "already"), ("no name", "no name"), ("and", "no name")] {
        let refused = rename(&mut editor, taken);
        assert!(refused["error"]["message"].as_str().unwrap_or_default().contains(says), "{taken}: {refused}");
    }
    let nothing = editor.at("prepareRename", "a.rules", (0, 3));
    assert!(nothing["error"]["message"].as_str().is_some(), "{nothing}");
}

#[test]
fn a_file_is_laid_out_and_outlined() {
    let mut editor = Editor::start(&[]);
    let text = "language 1\n# Kept.\npattern   a=/x[0-9]/\nrule r{on response match a then alert}\n";
    editor.open("a.rules", text);
    let uri = editor.uri("a.rules");
    let document = json!({ "textDocument": { "uri": uri }, "options": { "tabSize": 2, "insertSpaces": true } });
    let edits = editor.ask("textDocument/formatting", document.clone());
    let formatted = edited(text, &edits["result"]);
    assert_eq!(formatted, sluice_dsl::format::format(text).expect("it parses"));
    let names = editor.ask("textDocument/documentSymbol", document);
    let names: Vec<_> = names["result"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["a", "r"]);
}

#[test]
fn what_can_be_mended_is_offered_and_mends() {
    let mut editor = Editor::start(&[]);
    let text = "language 1\npattern staff_id = /EMP-[0-9]{6}/\nrule r { on response match staf_id then alert }\n";
    editor.open("a.rules", text);
    let found = editor.findings("a.rules", 1);
    assert!(!codes(&found).is_empty());
    let uri = editor.uri("a.rules");
    let place = json!({ "line": 2, "character": 29 });
    let offered = editor.ask(
        "textDocument/codeAction",
        json!({ "textDocument": { "uri": uri }, "range": { "start": place, "end": place }, "context": { "diagnostics": [] } }),
    );
    let offered = offered["result"].as_array().expect("a list").clone();
    let mends = |action: &Value| edited(text, &action["edit"]["changes"][&uri]) == text.replace("staf_id", "staff_id");
    assert!(offered.iter().any(mends), "{offered:?}");
}

#[test]
fn what_is_no_good_is_answered_and_the_server_goes_on() {
    let mut editor = Editor::silent(&[]);
    let early = editor.ask("textDocument/hover", json!({}));
    assert_eq!(early["error"]["code"], -32002, "before `initialize`");
    editor.ask("initialize", json!({ "capabilities": {} }));
    editor.tell("initialized", json!({}));
    assert_eq!(editor.ask("rules/unknown", json!({}))["error"]["code"], -32601);
    assert_eq!(editor.ask("textDocument/hover", json!({ "textDocument": 7 }))["error"]["code"], -32602);
    assert_eq!(editor.at("hover", "closed.rules", (0, 0))["error"]["code"], -32602, "it isn't open");
    editor.tell("textDocument/didChange", json!({ "nonsense": true }));
    editor.tell("rules/unknown", json!([]));
    editor.open("a.rules", "\u{0}language\u{202e} 1 \u{fffd} rule {{{{ \"");
    assert!(!editor.findings("a.rules", 1).is_empty());
    for position in [(0, 0), (0, 7), (0, 10_000), (4_000_000_000, 4_000_000_000)] {
        for method in ["hover", "completion", "definition", "documentHighlight"] {
            let answer = editor.at(method, "a.rules", position);
            assert!(answer.get("error").is_none(), "{method} {position:?}: {answer}");
        }
    }
    assert_eq!(editor.leave(), Some(0));
}

#[test]
fn an_editor_that_leaves_without_a_goodbye_is_told_by_the_exit_code() {
    let mut editor = Editor::start(&[]);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.code(), Some(1));
    let mut editor = Editor::start(&[]);
    assert_eq!(editor.code(), Some(1), "its input is closed");
}

#[test]
fn what_is_no_message_ends_the_server_with_a_reason() {
    let mut editor = Editor::start(&[]);
    editor.write("{ this is no JSON");
    let code = editor.code();
    assert!(matches!(code, Some(1 | 2)), "{code:?}");
    let mut said = String::new();
    editor.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_pack_that_the_lock_does_not_pin_is_told() {
    let text = "language 1\nimport std.pii \"1\"\nrule r { on response match std.pii.email then mask redact }\n";
    let mut editor = Editor::start(&[("a.rules", text)]);
    pin(editor.folder.path());
    editor.open("a.rules", text);
    let found = editor.findings("a.rules", 1);
    assert!(found.iter().all(|f| f["severity"] != 1), "{found:?}");
    let lock = editor.path("rules.lock");
    let pinned = std::fs::read_to_string(&lock).expect("it was written");
    let digit = pinned.rfind(|c: char| c.is_ascii_hexdigit()).expect("a digest");
    let other = if pinned.as_bytes()[digit] == b'0' { "1" } else { "0" };
    std::fs::write(&lock, format!("{}{other}{}", &pinned[..digit], &pinned[digit + 1..])).expect("it can be written");
    let changed = json!({ "changes": [{ "uri": format!("file://{}", lock.display()), "type": 2 }] });
    editor.tell("workspace/didChangeWatchedFiles", changed);
    let found = editor.findings("a.rules", 1);
    assert!(found.iter().any(|f| f["message"].as_str().unwrap().contains("is not the one that")), "{found:?}");
}

fn pin(folder: &Path) {
    let done = Command::new(env!("CARGO_BIN_EXE_rulec")).args(["pack", "lock", "."]).current_dir(folder).output();
    assert!(done.expect("rulec starts").status.success());
}
