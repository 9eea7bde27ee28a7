//! The loop: what the editor says, in its order, and what is said back.

use super::publish::{Findings, findings};
use super::text::Encoding;
use super::workspace::{View, Workspace};
use super::{complete, edit, hover, navigate, outline};
use crate::CompileOptions;
use gen_lsp_types as lsp;
use gen_lsp_types::Uri;
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, RequestId, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

/// How long the editor must be silent before what it changed is checked.
const QUIET: Duration = Duration::from_millis(40);
/// The id of the one request that this server makes.
const WATCH: &str = "watch-rules";

/// Why a server ended before its editor said goodbye.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The editor broke the protocol.
    #[error("the editor broke the protocol: {0}")]
    Protocol(String),
    /// Standard input or output failed.
    #[error("the connection to the editor failed: {0}")]
    Transport(String),
}

/// Serves one editor to its end. True where it said goodbye as the protocol wants it (`shutdown`, then `exit`).
///
/// # Errors
/// What the editor said breaks the protocol.
pub fn serve(connection: &Connection, options: CompileOptions) -> Result<bool, Failure> {
    let mut server = Server {
        connection,
        workspace: Workspace::new(options),
        findings: HashMap::new(),
        published: BTreeSet::new(),
        stale: false,
        snippets: false,
    };
    let Some(watches) = server.initialize()? else { return Ok(false) };
    if watches {
        server.watch();
    }
    Ok(server.listen())
}

struct Server<'a> {
    connection: &'a Connection,
    workspace: Workspace,
    /// What was found last, by file.
    findings: HashMap<Uri, Findings>,
    /// The files whose findings the editor shows.
    published: BTreeSet<Uri>,
    /// True where something changed since the last check.
    stale: bool,
    /// True where the editor can fill in places of a completion.
    snippets: bool,
}

/// What a request came to: an answer, or an error of the protocol.
type Answer = Result<Value, (ErrorCode, String)>;

impl Server<'_> {
    /// The handshake. None where the editor left before it was done; else whether it can watch files.
    fn initialize(&mut self) -> Result<Option<bool>, Failure> {
        let params = loop {
            match self.connection.receiver.recv() {
                Ok(Message::Request(request)) if request.method == "initialize" => {
                    break (request.id, request.params);
                }
                Ok(Message::Request(request)) => {
                    self.fail(request.id, ErrorCode::ServerNotInitialized, "the first request is `initialize`".into());
                }
                Ok(Message::Notification(notification)) if notification.method == "exit" => return Ok(None),
                Ok(_) => {}
                Err(_) => return Ok(None),
            }
        };
        let (id, params) = params;
        self.take(&params);
        let able = json!({ "capabilities": self.capabilities(), "serverInfo": {
            "name": "rulec", "version": env!("CARGO_PKG_VERSION"),
        }});
        self.send(Response::new_ok(id, able).into());
        Ok(Some(
            params.pointer("/capabilities/workspace/didChangeWatchedFiles/dynamicRegistration") == Some(&json!(true)),
        ))
    }

    /// Takes what matters of the parameters of `initialize`; read by path, so that nothing else in them can be wrong.
    fn take(&mut self, params: &Value) {
        let encodings = params.pointer("/capabilities/general/positionEncodings").and_then(Value::as_array);
        if encodings.is_some_and(|list| list.iter().any(|encoding| encoding == "utf-8")) {
            self.workspace.encoding = Encoding::Utf8;
        }
        let snippets = "/capabilities/textDocument/completion/completionItem/snippetSupport";
        self.snippets = params.pointer(snippets) == Some(&json!(true));
        let folder =
            |uri: &Value| uri.as_str().and_then(|uri| Uri::parse(uri).ok()).and_then(|uri| uri.to_file_path().ok());
        let folders = params.pointer("/workspaceFolders").and_then(Value::as_array);
        self.workspace.roots = match folders {
            Some(folders) => folders.iter().filter_map(|f| folder(&f["uri"])).collect(),
            None => params.pointer("/rootUri").and_then(folder).into_iter().collect(),
        };
        let deployed = params.pointer("/initializationOptions/deployed").and_then(Value::as_array);
        let paths: Vec<PathBuf> = deployed.into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from).collect();
        let roots = self.workspace.roots.iter();
        self.workspace.deployed = roots.flat_map(|root| paths.iter().map(move |path| root.join(path))).collect();
    }

    fn capabilities(&self) -> lsp::ServerCapabilities {
        let encoding = match self.workspace.encoding {
            Encoding::Utf8 => lsp::PositionEncodingKind::UTF8,
            Encoding::Utf16 => lsp::PositionEncodingKind::UTF16,
        };
        lsp::ServerCapabilities {
            position_encoding: Some(encoding),
            text_document_sync: Some(lsp::TextDocumentSync::Options(lsp::TextDocumentSyncOptions {
                open_close: Some(true),
                change: Some(lsp::TextDocumentSyncKind::Incremental),
                ..lsp::TextDocumentSyncOptions::default()
            })),
            completion_provider: Some(lsp::CompletionOptions {
                trigger_characters: Some([".", "\"", "(", "[", " "].map(str::to_owned).to_vec()),
                ..lsp::CompletionOptions::default()
            }),
            hover_provider: Some(true.into()),
            definition_provider: Some(true.into()),
            references_provider: Some(true.into()),
            document_highlight_provider: Some(true.into()),
            document_symbol_provider: Some(true.into()),
            document_formatting_provider: Some(true.into()),
            rename_provider: Some(lsp::RenameProvider::RenameOptions(lsp::RenameOptions {
                prepare_provider: Some(true),
                ..lsp::RenameOptions::default()
            })),
            code_action_provider: Some(lsp::CodeActionProvider::CodeActionOptions(lsp::CodeActionOptions {
                code_action_kinds: Some(vec![lsp::CodeActionKind::QuickFix]),
                ..lsp::CodeActionOptions::default()
            })),
            ..lsp::ServerCapabilities::default()
        }
    }

    /// Asks to be told of changes that other programs make.
    fn watch(&self) {
        let register = json!({ "registrations": [{
            "id": WATCH, "method": "workspace/didChangeWatchedFiles",
            "registerOptions": { "watchers": [{ "globPattern": "**/*.rules" }, { "globPattern": "**/rules.lock" }] },
        }]});
        let id = RequestId::from(WATCH.to_owned());
        self.send(Request::new(id, "client/registerCapability".to_owned(), register).into());
    }

    /// Listens until the editor leaves.
    fn listen(&mut self) -> bool {
        let mut leaving = false;
        loop {
            // Changes come in bursts; they are checked when the editor pauses.
            let message = if self.stale {
                match self.connection.receiver.recv_timeout(QUIET) {
                    Err(error) if error.is_timeout() => {
                        self.check();
                        continue;
                    }
                    other => other.ok(),
                }
            } else {
                self.connection.receiver.recv().ok()
            };
            match message {
                None => return false,
                Some(Message::Notification(said)) if said.method == "exit" => return leaving,
                Some(Message::Request(asked)) if leaving => {
                    self.fail(asked.id, ErrorCode::InvalidRequest, "the server is shutting down".into());
                }
                Some(Message::Request(asked)) if asked.method == "shutdown" => {
                    leaving = true;
                    self.stale = false;
                    self.send(Response::new_ok(asked.id, Value::Null).into());
                }
                Some(Message::Request(asked)) => self.request(asked),
                Some(Message::Notification(_)) if leaving => {}
                Some(Message::Notification(said)) => self.notification(said),
                // The answer to the one request of this server; an editor that can't watch files works all the same.
                Some(Message::Response(_)) => {}
            }
        }
    }

    fn send(&self, message: Message) {
        // Where the editor is gone, the next receive says so.
        let _ = self.connection.sender.send(message);
    }

    fn fail(&self, id: RequestId, code: ErrorCode, message: String) {
        self.send(Response::new_err(id, code as i32, message).into());
    }

    fn notification(&mut self, said: Notification) {
        let method = said.method.clone();
        // A defect in the reading of one text must not end the server.
        let done = catch_unwind(AssertUnwindSafe(|| self.take_notice(said)));
        if done.is_err() {
            self.log(&format!("a defect while reading `{method}`"));
        }
    }

    fn take_notice(&mut self, said: Notification) {
        match said.method.as_str() {
            "textDocument/didOpen" => {
                if let Some(params) = self.read::<lsp::DidOpenTextDocumentParams>(&said.method, said.params) {
                    let document = params.text_document;
                    self.workspace.open(document.uri, document.text, document.version);
                    self.stale = true;
                }
            }
            "textDocument/didChange" => {
                if let Some(params) = self.read::<lsp::DidChangeTextDocumentParams>(&said.method, said.params) {
                    let (id, changes) = (params.text_document, params.content_changes);
                    self.workspace.change(&id.text_document_identifier.uri, id.version, |text| {
                        use lsp::TextDocumentContentChangeEvent::{
                            TextDocumentContentChangePartial as Partial,
                            TextDocumentContentChangeWholeDocument as Whole,
                        };
                        for change in &changes {
                            match change {
                                Partial(part) => text.change(Some(part.range), &part.text),
                                Whole(whole) => text.change(None, &whole.text),
                            }
                        }
                    });
                    self.stale = true;
                }
            }
            "textDocument/didClose" => {
                if let Some(params) = self.read::<lsp::DidCloseTextDocumentParams>(&said.method, said.params) {
                    self.workspace.close(&params.text_document.uri);
                    self.stale = true;
                }
            }
            "workspace/didChangeWatchedFiles" | "textDocument/didSave" => self.stale = true,
            // `initialized`, `$/cancelRequest` (requests are answered at once), `$/setTrace` and what later versions add.
            _ => {}
        }
    }

    fn read<P: DeserializeOwned>(&self, method: &str, params: Value) -> Option<P> {
        serde_json::from_value(params).map_err(|error| self.log(&format!("`{method}` can't be read: {error}"))).ok()
    }

    fn log(&self, message: &str) {
        let params = json!({ "type": lsp::MessageType::Warning, "message": format!("rulec: {message}") });
        self.send(Notification::new("window/logMessage".to_owned(), params).into());
    }

    /// Checks everything open and shows what is found; what is found no longer is taken back.
    fn check(&mut self) {
        self.stale = false;
        let found = catch_unwind(AssertUnwindSafe(|| findings(&self.workspace, &self.workspace.check())));
        let Ok(found) = found else {
            self.log("a defect while checking");
            return;
        };
        let open: BTreeSet<Uri> = self.workspace.documents().map(|(uri, _)| uri.clone()).collect();
        let now: BTreeSet<Uri> = found.keys().cloned().chain(open).collect();
        for uri in now.union(&self.published) {
            let diagnostics = found.get(uri).map(|found| found.shown.clone()).unwrap_or_default();
            let version = self.workspace.document(uri).map(|document| document.version);
            let params = lsp::PublishDiagnosticsParams { uri: uri.clone(), version, diagnostics };
            let params = serde_json::to_value(params).unwrap_or_default();
            self.send(Notification::new("textDocument/publishDiagnostics".to_owned(), params).into());
        }
        self.published = now;
        self.findings = found;
    }

    fn request(&mut self, asked: Request) {
        let Request { id, method, params } = asked;
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&method, params)));
        match answer.unwrap_or_else(|_| Err((ErrorCode::InternalError, format!("a defect in `{method}`")))) {
            Ok(value) => self.send(Response::new_ok(id, value).into()),
            Err((code, message)) => self.fail(id, code, message),
        }
    }

    fn answer(&mut self, method: &str, params: Value) -> Answer {
        match method {
            "textDocument/hover" => {
                let (view, at, uri) = self.place(parse::<lsp::HoverParams>(params)?.text_document_position_params)?;
                let shown = hover::hover(&view, at).map(|(value, span)| lsp::Hover {
                    contents: lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value }.into(),
                    range: self.workspace.document(&uri).map(|document| document.text.range(&span)),
                });
                give(shown)
            }
            "textDocument/completion" => {
                let (view, at, uri) =
                    self.place(parse::<lsp::CompletionParams>(params)?.text_document_position_params)?;
                let text = self.workspace.document(&uri).map(|document| &document.text);
                give(text.map(|text| complete::complete(&view, text, at, self.snippets)))
            }
            "textDocument/definition" => {
                let (view, at, _) =
                    self.place(parse::<lsp::DefinitionParams>(params)?.text_document_position_params)?;
                give(navigate::definition(&self.workspace, &view, at))
            }
            "textDocument/references" => {
                let params = parse::<lsp::ReferenceParams>(params)?;
                let declaration = params.context.include_declaration;
                let (view, at, _) = self.place(params.text_document_position_params)?;
                give(navigate::references(&self.workspace, &view, at, declaration))
            }
            "textDocument/documentHighlight" => {
                let params = parse::<lsp::DocumentHighlightParams>(params)?;
                let (view, at, uri) = self.place(params.text_document_position_params)?;
                let Some(document) = self.workspace.document(&uri) else { return give(()) };
                let found =
                    navigate::highlights(&view, at).into_iter().map(|(span, declares)| lsp::DocumentHighlight {
                        range: document.text.range(&span),
                        kind: Some(if declares {
                            lsp::DocumentHighlightKind::Write
                        } else {
                            lsp::DocumentHighlightKind::Read
                        }),
                    });
                give(found.collect::<Vec<_>>())
            }
            "textDocument/prepareRename" => {
                let (view, at, uri) =
                    self.place(parse::<lsp::PrepareRenameParams>(params)?.text_document_position_params)?;
                let (target, span) = navigate::renamable(&view, at).map_err(refuse)?;
                let range = self.workspace.document(&uri).map(|document| document.text.range(&span));
                give(range.map(|range| json!({ "range": range, "placeholder": target.name })))
            }
            "textDocument/rename" => {
                let params = parse::<lsp::RenameParams>(params)?;
                let (view, at, _) = self.place(params.text_document_position_params)?;
                give(navigate::rename(&self.workspace, &view, at, &params.new_name).map_err(refuse)?)
            }
            "textDocument/documentSymbol" => {
                let uri = parse::<lsp::DocumentSymbolParams>(params)?.text_document.uri;
                let view = self.view(&uri)?;
                let text = self.workspace.document(&uri).map(|document| &document.text);
                give(text.map(|text| outline::outline(&view.loaded.units[view.unit], text)))
            }
            "textDocument/formatting" => {
                let uri = parse::<lsp::DocumentFormattingParams>(params)?.text_document.uri;
                let document = self.workspace.document(&uri).ok_or_else(|| closed(&uri))?;
                give(edit::format(&document.text))
            }
            "textDocument/codeAction" => {
                let params = parse::<lsp::CodeActionParams>(params)?;
                let uri = params.text_document.uri;
                if self.workspace.document(&uri).is_none() {
                    return Err(closed(&uri));
                }
                // The places of findings are those of the text they were found in.
                if self.stale {
                    self.check();
                }
                let found = self.findings.get(&uri);
                give(
                    found
                        .map(|f| edit::actions(&self.workspace, &uri, &f.own, &f.shown, params.range))
                        .unwrap_or_default(),
                )
            }
            "initialize" => Err((ErrorCode::InvalidRequest, "`initialize` was said already".into())),
            _ => Err((ErrorCode::MethodNotFound, format!("`{method}` is not known"))),
        }
    }

    fn view(&self, uri: &Uri) -> Result<View, (ErrorCode, String)> {
        self.workspace.view(uri).ok_or_else(|| closed(uri))
    }

    /// The file and the byte that a position means.
    fn place(&self, params: lsp::TextDocumentPositionParams) -> Result<(View, usize, Uri), (ErrorCode, String)> {
        let uri = params.text_document.uri;
        let view = self.view(&uri)?;
        let document = self.workspace.document(&uri).ok_or_else(|| closed(&uri))?;
        Ok((view, document.text.offset(params.position), uri))
    }
}

fn parse<P: DeserializeOwned>(params: Value) -> Result<P, (ErrorCode, String)> {
    serde_json::from_value(params).map_err(|error| (ErrorCode::InvalidParams, error.to_string()))
}

fn give(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|error| (ErrorCode::InternalError, error.to_string()))
}

fn closed(uri: &Uri) -> (ErrorCode, String) {
    (ErrorCode::InvalidParams, format!("`{uri}` is not open"))
}

fn refuse(reason: String) -> (ErrorCode, String) {
    (ErrorCode::RequestFailed, reason)
}
