//! A stream of the engine with a sink that gathers what may leave and what was decided.

use bytes::{Bytes, BytesMut};
use sluice_engine::{Budget, Decision, Format, JsonPath, Program, RuleSet, Sink, Stop, Stream, StreamOptions};
use std::sync::LazyLock;

/// Members that are the protocol's own. Ids and tokens tie messages together, and the other side has to give them back as
/// they were; a state is checked by the server that made it; a revision and a header's name are words of the specification.
const PROTOCOL: [&str; 15] = [
    ".id",
    ".params.requestId",
    ".params.progressToken",
    ".params._meta.progressToken",
    ".params._meta['io.modelcontextprotocol/subscriptionId']",
    ".result._meta['io.modelcontextprotocol/subscriptionId']",
    ".params.protocolVersion",
    ".result.protocolVersion",
    ".result.supportedVersions[*]",
    ".params._meta['io.modelcontextprotocol/protocolVersion']",
    ".error.data.supported[*]",
    ".error.data.requested",
    ".params.requestState",
    ".result.requestState",
    ".result.tools[*].inputSchema..x-mcp-header",
];

/// The same as paths of a message, and of each message of a batch.
static OPAQUE: LazyLock<Vec<JsonPath>> = LazyLock::new(|| {
    let paths = PROTOCOL.iter().flat_map(|member| [format!("${member}"), format!("$[*]{member}")]);
    paths.map(|path| JsonPath::parse(&path).expect("each path above is well formed")).collect()
});

/// Members whose value is a document of its own for the paths that rules name.
const DOCUMENTS: &[&str] = &["structuredContent", "arguments"];

/// How a stream of MCP is opened.
pub(crate) fn general_options(format: Format, rules: RuleSet) -> StreamOptions {
    StreamOptions { format, rules: Some(rules), column: None, exempt: OPAQUE.clone(), roots: DOCUMENTS }
}

/// More pieces than this are put together: each by itself costs more than a copy.
const PIECES: usize = 8;

/// One direction of one exchange.
pub(crate) struct Inspector {
    stream: Stream,
    out: Out,
}

#[derive(Default)]
struct Out {
    frames: Vec<Bytes>,
    masked: bool,
    decisions: Vec<Decision>,
}

impl Sink for Out {
    fn clean(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.frames.push(bytes);
        }
    }
    fn masked(&mut self, replacement: &[u8]) {
        self.masked = true;
        self.frames.push(Bytes::copy_from_slice(replacement));
    }
    fn decision(&mut self, decision: &Decision) {
        self.decisions.push(decision.clone());
    }
}

/// What a push let go.
pub(crate) struct Released {
    /// Decided bytes, in order; may be empty.
    pub(crate) bytes: Bytes,
    /// What was decided about them.
    pub(crate) decisions: Vec<Decision>,
    /// True where the bytes differ from what came.
    pub(crate) masked: bool,
    /// Why nothing more comes.
    pub(crate) stop: Option<Stop>,
}

impl Released {
    /// Bytes that nothing was looked for in.
    pub(crate) fn clean(bytes: Bytes) -> Self {
        Self { bytes, decisions: Vec::new(), masked: false, stop: None }
    }
}

impl Inspector {
    pub(crate) fn open(program: &Program, options: StreamOptions, budget: &Budget) -> Self {
        Self { stream: Stream::open(program, options, budget), out: Out::default() }
    }

    /// Bytes of a sender that may pause.
    pub(crate) fn open_paused(program: &Program, rules: RuleSet, budget: &Budget) -> Self {
        Self { stream: Stream::open_paused(program, Some(rules), budget), out: Out::default() }
    }

    /// The sender says nothing for a while.
    pub(crate) fn pause(&mut self) -> Released {
        let stop = self.stream.pause(&mut self.out).err();
        self.release(stop)
    }

    /// Bytes that are held back.
    pub(crate) fn held(&self) -> usize {
        self.stream.held()
    }

    pub(crate) fn push(&mut self, bytes: Bytes) -> Released {
        let stop = self.stream.push(bytes, &mut self.out).err();
        self.release(stop)
    }

    /// As [`push`](Self::push), with what may leave in the pieces that it lies in: a few are not copied to stand together.
    pub(crate) fn push_pieces(&mut self, bytes: Bytes) -> (Vec<Bytes>, Released) {
        let stop = self.stream.push(bytes, &mut self.out).err();
        if self.out.frames.len() > PIECES {
            let released = self.release(stop);
            return (vec![released.bytes.clone()], Released { bytes: Bytes::new(), ..released });
        }
        (std::mem::take(&mut self.out.frames), self.release(stop))
    }

    pub(crate) fn finish(&mut self) -> Released {
        let stop = self.stream.finish(&mut self.out).err();
        self.release(stop)
    }

    /// True where an event waits for one that has not come.
    pub(crate) fn awaits_event(&self) -> bool {
        self.stream.awaits_event()
    }

    /// Lets go the events that wait for one that has not come.
    pub(crate) fn decide(&mut self) -> Released {
        let stop = self.stream.decide(&mut self.out).err();
        self.release(stop)
    }

    /// A whole message at once.
    pub(crate) fn whole(mut self, bytes: Bytes) -> Released {
        let stop = self.stream.push(bytes, &mut self.out).and_then(|()| self.stream.finish(&mut self.out)).err();
        self.release(stop)
    }

    fn release(&mut self, stop: Option<Stop>) -> Released {
        let frames = std::mem::take(&mut self.out.frames);
        let bytes = match frames.len() {
            0 => Bytes::new(),
            1 => frames.into_iter().next().unwrap_or_default(),
            _ => frames
                .iter()
                .fold(BytesMut::new(), |mut all, frame| {
                    all.extend_from_slice(frame);
                    all
                })
                .freeze(),
        };
        Released {
            bytes,
            decisions: std::mem::take(&mut self.out.decisions),
            masked: std::mem::take(&mut self.out.masked),
            stop,
        }
    }
}
