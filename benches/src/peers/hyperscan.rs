//! Hyperscan and Vectorscan in streaming mode, loaded at run time: both have one interface in C and can stand side by side.
#![allow(unsafe_code, reason = "a library in C is loaded at run time and called")]

use super::{Contender, Report, Semantics};
use crate::workload::Workload;
use bytes::Bytes;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;
use std::ptr;
use thiserror::Error;

/// Why a library can't be measured.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It isn't there, or lacks a function.
    #[error("{0}")]
    Library(#[from] libloading::Error),
    /// It refuses a pattern.
    #[error("can't compile {pattern}: {message}")]
    Compile {
        /// The pattern's name.
        pattern: String,
        /// What the library says.
        message: String,
    },
    /// A call fails.
    #[error("{call} fails with {code}")]
    Call {
        /// The function.
        call: &'static str,
        /// Its `hs_error_t`.
        code: c_int,
    },
}

const SUCCESS: c_int = 0;
const FLAG_CASELESS: c_uint = 1;
const FLAG_SOM_LEFTMOST: c_uint = 256;
const MODE_STREAM: c_uint = 2;
const MODE_SOM_HORIZON_LARGE: c_uint = 1 << 24;

/// What `hs_compile_multi` says about a failure: `hs_compile_error_t`.
#[repr(C)]
struct CompileError {
    message: *const c_char,
    expression: c_int,
}

type OnMatch = unsafe extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;
type CompileMulti = unsafe extern "C" fn(
    *const *const c_char,
    *const c_uint,
    *const c_uint,
    c_uint,
    c_uint,
    *const c_void,
    *mut *mut c_void,
    *mut *mut CompileError,
) -> c_int;

/// The functions of `hs.h` that are used. They are valid while the library is loaded, and it is loaded while they are here.
struct Functions {
    version: unsafe extern "C" fn() -> *const c_char,
    compile_multi: CompileMulti,
    free_compile_error: unsafe extern "C" fn(*mut CompileError) -> c_int,
    alloc_scratch: unsafe extern "C" fn(*const c_void, *mut *mut c_void) -> c_int,
    open_stream: unsafe extern "C" fn(*const c_void, c_uint, *mut *mut c_void) -> c_int,
    scan_stream: unsafe extern "C" fn(
        *mut c_void,
        *const c_char,
        c_uint,
        c_uint,
        *mut c_void,
        Option<OnMatch>,
        *mut c_void,
    ) -> c_int,
    close_stream: unsafe extern "C" fn(*mut c_void, *mut c_void, Option<OnMatch>, *mut c_void) -> c_int,
    free_scratch: unsafe extern "C" fn(*mut c_void) -> c_int,
    free_database: unsafe extern "C" fn(*mut c_void) -> c_int,
    _library: Library,
}

impl Functions {
    fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: the initialisers of libhs (those of a C++ library) have no preconditions; each symbol is given the type
        // that hs.h declares for it, of which 5.0 to 5.4 have the same.
        unsafe {
            let library = Library::new(path)?;
            Ok(Self {
                version: *library.get(b"hs_version\0")?,
                compile_multi: *library.get(b"hs_compile_multi\0")?,
                free_compile_error: *library.get(b"hs_free_compile_error\0")?,
                alloc_scratch: *library.get(b"hs_alloc_scratch\0")?,
                open_stream: *library.get(b"hs_open_stream\0")?,
                scan_stream: *library.get(b"hs_scan_stream\0")?,
                close_stream: *library.get(b"hs_close_stream\0")?,
                free_scratch: *library.get(b"hs_free_scratch\0")?,
                free_database: *library.get(b"hs_free_database\0")?,
                _library: library,
            })
        }
    }
}

/// A workload compiled by one of the libraries.
pub struct Hyperscan {
    name: String,
    functions: Functions,
    /// Not null; freed when dropped.
    database: *mut c_void,
    /// Not null, made for the database; freed when dropped.
    scratch: *mut c_void,
}

impl Hyperscan {
    /// Loads the library and compiles the workload, with the start of each match where told.
    ///
    /// # Errors
    /// A [`LoadError`]; the peer can't run then.
    pub fn new(name: &str, path: &Path, workload: &Workload, starts: bool) -> Result<Self, LoadError> {
        let functions = Functions::load(path)?;
        let expressions = Expressions::new(workload, starts);
        let database = expressions.compile(&functions, starts)?;
        let mut scratch = ptr::null_mut();
        // SAFETY: the database is one that this library made, and `scratch` holds null, as hs_alloc_scratch asks.
        let code = unsafe { (functions.alloc_scratch)(database, &raw mut scratch) };
        let peer = Self { name: name.to_owned(), functions, database, scratch };
        if code == SUCCESS { Ok(peer) } else { Err(LoadError::Call { call: "hs_alloc_scratch", code }) }
    }

    /// The library's version as it tells it.
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: hs_version gives a static string that ends in NUL.
        unsafe { CStr::from_ptr((self.functions.version)()) }.to_string_lossy().into_owned()
    }

    fn run<T>(&self, text: &[u8], chunk: usize, on_match: OnMatch, context: &mut T) {
        let context = ptr::from_mut(context).cast::<c_void>();
        let mut stream = ptr::null_mut();
        // SAFETY: the database is valid; the stream is used by this call alone and closed below.
        let code = unsafe { (self.functions.open_stream)(self.database, 0, &raw mut stream) };
        assert_eq!(code, SUCCESS, "hs_open_stream");
        for part in text.chunks(chunk) {
            // SAFETY: stream and scratch belong to the database; `part` is readable for its length, which a chunk keeps
            // under 4 GiB; `on_match` is given the context that it was written for.
            let code = unsafe {
                let length = part.len() as c_uint;
                (self.functions.scan_stream)(
                    stream,
                    part.as_ptr().cast(),
                    length,
                    0,
                    self.scratch,
                    Some(on_match),
                    context,
                )
            };
            assert_eq!(code, SUCCESS, "hs_scan_stream");
        }
        // SAFETY: as above; the stream isn't used after this.
        let code = unsafe { (self.functions.close_stream)(stream, self.scratch, Some(on_match), context) };
        assert_eq!(code, SUCCESS, "hs_close_stream");
    }
}

/// What `hs_compile_multi` takes: arrays of one length.
struct Expressions {
    texts: Vec<CString>,
    flags: Vec<c_uint>,
    /// The literals share the id of their pattern.
    ids: Vec<c_uint>,
}

impl Expressions {
    fn new(workload: &Workload, starts: bool) -> Self {
        let som = if starts { FLAG_SOM_LEFTMOST } else { 0 };
        let mut all = Self { texts: Vec::new(), flags: Vec::new(), ids: Vec::new() };
        let mut add = |text: &str, flags, id: usize| {
            all.texts.push(CString::new(text).expect("no expression holds NUL"));
            all.flags.push(flags | som);
            all.ids.push(id as c_uint);
        };
        workload.rules.iter().enumerate().for_each(|(id, rule)| add(&rule.regex, 0, id));
        workload.words.iter().for_each(|word| add(&regex_syntax::escape(word), FLAG_CASELESS, workload.rules.len()));
        all
    }

    fn compile(&self, functions: &Functions, starts: bool) -> Result<*mut c_void, LoadError> {
        let texts: Vec<*const c_char> = self.texts.iter().map(|text| text.as_ptr()).collect();
        let mode = MODE_STREAM | if starts { MODE_SOM_HORIZON_LARGE } else { 0 };
        let mut database = ptr::null_mut();
        let mut error: *mut CompileError = ptr::null_mut();
        // SAFETY: three arrays of the length given, each text ends in NUL and outlives the call; a null platform is this
        // machine; the last two are written to.
        let code = unsafe {
            (functions.compile_multi)(
                texts.as_ptr(),
                self.flags.as_ptr(),
                self.ids.as_ptr(),
                texts.len() as c_uint,
                mode,
                ptr::null(),
                &raw mut database,
                &raw mut error,
            )
        };
        if code == SUCCESS {
            return Ok(database);
        }
        if error.is_null() {
            return Err(LoadError::Call { call: "hs_compile_multi", code });
        }
        // SAFETY: on failure `error` points to a CompileError whose message ends in NUL; it isn't read after it is freed.
        let (message, expression) = unsafe {
            let message = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
            let expression = (*error).expression;
            (functions.free_compile_error)(error);
            (message, expression)
        };
        let text = usize::try_from(expression).ok().and_then(|at| self.texts.get(at));
        let pattern = text.map_or_else(|| "the set".into(), |text| text.to_string_lossy().into_owned());
        Err(LoadError::Compile { pattern, message })
    }
}

impl Drop for Hyperscan {
    fn drop(&mut self) {
        // SAFETY: both were made by this library, no stream is open, and neither is used again. Null is allowed.
        unsafe {
            (self.functions.free_scratch)(self.scratch);
            (self.functions.free_database)(self.database);
        }
    }
}

/// Counts; `context` is a `u64`.
unsafe extern "C" fn count(_: c_uint, _: c_ulonglong, _: c_ulonglong, _: c_uint, context: *mut c_void) -> c_int {
    // SAFETY: `search` passes a u64 that nothing else touches during the scan.
    unsafe { *context.cast::<u64>() += 1 };
    0
}

/// Lists; `context` is a `Vec<Report>`. The start is 0 where the library wasn't asked for it.
unsafe extern "C" fn list(id: c_uint, from: c_ulonglong, to: c_ulonglong, _: c_uint, context: *mut c_void) -> c_int {
    // SAFETY: `reports` passes a Vec<Report> that nothing else touches during the scan.
    unsafe { &mut *context.cast::<Vec<Report>>() }.push(Report { pattern: id, start: Some(from), end: to });
    0
}

impl Contender for Hyperscan {
    fn name(&self) -> &str {
        &self.name
    }

    fn semantics(&self) -> Semantics {
        Semantics::EveryEnd
    }

    fn search(&mut self, text: &Bytes, chunk: usize) -> u64 {
        let mut found = 0_u64;
        self.run(text, chunk, count, &mut found);
        found
    }

    fn reports(&mut self, text: &Bytes, chunk: usize) -> Vec<Report> {
        let mut found = Vec::new();
        self.run(text, chunk, list, &mut found);
        found.iter().map(|report: &Report| Report { start: None, ..*report }).collect()
    }
}
