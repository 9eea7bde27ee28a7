//! Running other programs: one step is one command, shown before it runs, with its failure in words.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a command ends in: nothing, or a sentence that says what went wrong.
pub(crate) type Outcome = Result<(), String>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Whether a program of this name is on the path.
pub(crate) fn have(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// One command to run, from the root of the workspace unless told otherwise.
pub(crate) struct Step {
    program: OsString,
    command: Command,
    shown: String,
}

impl Step {
    /// A program by name or path.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        let program = program.into();
        let mut command = Command::new(&program);
        command.current_dir(root());
        let shown = Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
        Self { program, command, shown }
    }

    /// A subcommand of the cargo that runs us.
    pub(crate) fn cargo(subcommand: &str) -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args([subcommand])
    }

    /// A program that needs root: run as it is by root, through sudo by others.
    pub(crate) fn privileged(program: &str) -> Self {
        if is_root() { Self::new(program) } else { Self::new("sudo").args([program]) }
    }

    /// More arguments.
    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(arg);
            self.command.arg(arg);
        }
        self
    }

    /// A variable in the command's environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// The folder to run in.
    pub(crate) fn within(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it to its end; anything but exit 0 is an error.
    pub(crate) fn run(mut self) -> Outcome {
        eprintln!("\n$ {}", self.shown);
        let started = std::time::Instant::now();
        let status = self.command.status().map_err(|error| self.missing(&error))?;
        eprintln!("  ({:.0} s)", started.elapsed().as_secs_f64());
        if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", self.shown)) }
    }

    /// Runs it in silence and tells whether it exited 0.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.output().is_ok_and(|output| output.status.success())
    }

    /// Runs it and gives what it wrote to stdout, or nothing when it can't be run or failed.
    pub(crate) fn output(mut self) -> Option<String> {
        let output = self.command.output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    }

    /// Becomes the command, so that signals reach it and its exit is ours.
    pub(crate) fn replace(mut self) -> Outcome {
        use std::os::unix::process::CommandExt as _;
        eprintln!("$ {}", self.shown);
        let error = self.command.exec();
        Err(self.missing(&error))
    }

    fn missing(&self, error: &std::io::Error) -> String {
        format!("can't run `{}`: {error}", self.program.to_string_lossy())
    }
}

fn is_root() -> bool {
    Step::new("id").args(["-u"]).output().is_some_and(|id| id.trim() == "0")
}
