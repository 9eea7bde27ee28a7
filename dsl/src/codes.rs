//! Every message of the checker: its code, its name, and what it means. Printed by `rulec explain`.

use crate::diagnostic::Severity;

macro_rules! codes {
    ($($variant:ident $id:literal $name:literal $text:literal;)*) => {
        /// A kind of message. `E…` is an error, `W…` a warning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $text] $variant,)* }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The code: `E001`.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// The name in words.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means and what to do.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Why it is bad, an example and what to use instead, in Markdown: sections `Why it is bad`, `Example` and
            /// `Use instead`, the rules in fences of the language `rules`.
            #[must_use]
            pub fn markdown(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("codes/", $id, ".md")),)* }
            }
        }
    };
}

codes! {
    Syntax "E001" "syntax" "The text is not of the rule language. The message says which words could stand there; the rest of the file is still read from the next item on.";
    Character "E002" "forbidden character" "The file holds a control, bidirectional or invisible character. Such characters let a file read differently from what it means; write what you mean with visible ones, or as `\\u{…}` in a string.";
    Nesting "E003" "nesting too deep" "Brackets are nested more than 64 deep. No rule that people can read needs that.";
    MixedAndOr "E004" "and mixed with or" "`and` and `or` stand side by side without parentheses. Readers disagree on which binds closer, so say it with parentheses.";
    Unreadable "E005" "unreadable file" "The file can't be read, or is not UTF-8.";
    Literal "E006" "bad literal" "A string, number, size or date can't be what it says: an unknown escape, a number out of range, a day that isn't in the calendar.";
    DuplicateClause "E007" "clause given twice" "A clause stands twice where one is allowed. One of them would be ignored, so neither is.";
    Language "E010" "language version" "A file starts with `language 1`, the only version there is.";
    DuplicateName "E011" "duplicate name" "Two items of one kind have one name. Nothing is overridden in this language: rename one.";
    DuplicateId "E012" "duplicate id" "Two rules have one `meta` id. Evidence and tickets speak of a rule by its id, so it must be of one rule.";
    UnknownName "E013" "unknown name" "No list, pattern, scope or rule of this name can be seen from here. Names come from the file itself and from its imports.";
    MissingImport "E014" "missing import" "The imported pack or file doesn't exist, its version is another one, or it isn't what `rules.lock` pins.";
    ImportCycle "E015" "import cycle" "Files import each other in a circle.";
    Cycle "E016" "definition in a circle" "A list or pattern is defined by itself.";
    Confusable "E017" "confusable name" "A name holds characters that look like others. Names are ASCII letters, digits and `_`.";
    UnknownField "E020" "unknown field" "There is no field of this name. `rulec schema` prints all of them.";
    Type "E021" "wrong type" "The value or the operator doesn't fit the field: a number is compared with a text, a text is ordered, and so on.";
    UnknownValue "E022" "unknown value" "The field takes one of a fixed set of values, and this isn't one of them, so the comparison could never hold.";
    Protocol "E023" "field of another protocol" "The field is of a protocol that the rule's scope excludes. The condition could never hold, and a rule that silently never holds protects nothing.";
    NeedsDecode "E024" "SQL without decode" "`sql.*` is used for MCP, but no `decode` says which argument of which tool holds the SQL.";
    NotGiven "E025" "not for a test to give" "The field is decided by what a test sends or by when it runs, so giving it would do nothing.";
    Regex "E030" "bad regular expression" "The regular expression is not valid, or asks for something that can't be decided on a stream.";
    Unbounded "E031" "unbounded pattern" "The regular expression has no maximum length. A stream is held back as long as a match may go on, so every pattern has a bound: replace `*` and `+` by `{0,N}`, or declare `max 8KiB`.";
    MatchesEmpty "E032" "matches the empty string" "The regular expression matches the empty string, so it would match everywhere.";
    TooLong "E033" "hold-back over budget" "The longest match of the pattern is over the cap, so streams would be held back too long.";
    Validator "E034" "unknown validator" "There is no validator of this name, or its argument doesn't fit.";
    Words "E035" "empty words" "A list of words has no word, or an empty one.";
    Path "E036" "bad path" "The JSON path can't be read. It starts with `$`: `$.customer.*.name`, `$.rows[*].email`, `$..email`.";
    ApproveOnResponse "E040" "approve on response" "An approval can only be asked for before something happens. On a response it has happened.";
    Action "E041" "action doesn't fit" "The action can't be done with what the rule says: a mask needs `match`, a rule on a response needs `match`, an approval can't depend on one, two actions exclude each other.";
    Mask "E042" "bad mask" "The mask or one of its arguments is unknown, missing, or of the wrong type.";
    Priority "E043" "priority out of range" "`priority` goes from 0 to 100.";
    Sealed "E044" "exception to a sealed rule" "The rule is `sealed`: its author allows no exception. Change the rule, with its owner.";
    Expired "E045" "exception out of date" "The exception's last day is past, so it holds no longer. Remove it, or have it approved anew with a new date.";
    LimitNotEnforced "E046" "limit not enforced here" "`limit` counts what rules block in responses of PostgreSQL, and nothing else yet. A rule that seems to hold and doesn't is worse than none, so the rules are refused.";
    Relaxed "E047" "exception to an unknown rule" "The exception names a rule that is not among the deployed ones.";
    ZeroRules "E050" "no rules" "The files hold not one rule. A gateway without rules would pass everything and look as if it protected.";
    Build "E051" "program can't be built" "The engine refuses the patterns together.";
    UnusedPattern "W001" "unused pattern" "No rule or pattern speaks of the pattern. It protects nothing.";
    UnusedList "W002" "unused list" "Nothing speaks of the list.";
    UnusedScope "W003" "unused scope" "No rule speaks of the scope.";
    UntestedRule "W004" "rule without a test" "No test names the rule, so nobody has seen it work.";
    ExpiresSoon "W005" "exception about to expire" "The exception ends within 30 days.";
    Unreachable "W006" "unreachable rule" "No request can have all that the rule asks for, so it never acts.";
    Shadowed "W007" "shadowed rule" "Whenever the rule would act, a stronger one acts and leaves nothing to it.";
    MaskConflict "W008" "masks in conflict" "Two masks claim the same value at equal priority, and write different things. Which one wins is settled by the length of what they claim, then by how strict they are, then by their ids; say it by `priority` instead.";
    ChannelOpen "W009" "mask doesn't reach a channel" "The mask holds for some kinds of MCP messages of a session and never for others, and nothing else masks the same there.";
    OnlyReported "W010" "found and let pass" "Rules look for the pattern and report it, and none masks or blocks it.";
    RelaxesNothing "W011" "relaxes nothing" "The condition of an `unless` or `except` never holds where the rule does.";
    SwitchedOff "W012" "rule switched off" "The exceptions of the rule hold wherever it would act, so it does nothing until they end.";
    Anchor "W013" "anchor binds one branch" "An anchor at the start or end of a regular expression with `|` holds for the branch beside it alone: `^a|b$` is `a` at the start, or `b` at the end.";
    NoArticle "W014" "personal data without its article" "The rule handles personal data and doesn't name the article of the GDPR that it serves.";
    UnusedSuppression "W015" "unused suppression" "The comment suppresses nothing: what it names isn't found there.";
    BadSuppression "W016" "bad suppression" "The comment suppresses nothing: it lacks a reason, or names no warning.";
    ApprovalConflict "W017" "approvals in conflict" "One request needs two approvals of different people at equal priority. The one whose id comes first is asked for; say by `priority` which it shall be.";
    NoPrefilter "W018" "pattern without a prefilter" "No part of the pattern is fixed and rare, so its search can't skip what is surely no match: every byte that can begin one is tried. `rulec bench` measures what that costs.";
    NoEstimate "W019" "nothing to estimate" "The rule asks for an estimate, which PostgreSQL alone gives, and never holds there: approvers are shown none.";
}

impl Code {
    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        if self.id().starts_with('E') { Severity::Error } else { Severity::Warning }
    }

    /// The code of this id (`E001`, any case) or of this name.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.id().eq_ignore_ascii_case(text) || code.name() == text)
    }
}
