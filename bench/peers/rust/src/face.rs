// SPDX-License-Identifier: MIT
//
//! The face of ../peer.h in Rust. A contestant implements `Pool`, and `Forks` if it forks and
//! joins; `contest` and `contest_forks` hand it to the C code that asks the questions.

use std::ffi::{c_void, CString};
use std::os::raw::{c_char, c_int, c_long, c_uint};
use std::os::unix::ffi::OsStringExt;
use std::ptr;

pub mod work;

/// `struct peer_job`: one cache line that belongs to who asks.
#[repr(C)]
pub struct Job {
    run: unsafe extern "C" fn(*mut Job),
    space: [*mut c_void; 7],
}

impl Job {
    pub fn new(run: unsafe extern "C" fn(*mut Job)) -> Job {
        Job { run, space: [ptr::null_mut(); 7] }
    }
}

/// What the pools carry: a job that is to be run once.
pub struct Task(*mut Job);

// A job lives until it has run, on whatever thread.
unsafe impl Send for Task {}

impl Task {
    /// The caller keeps the job until it has run.
    pub fn new(job: *mut Job) -> Task {
        Task(job)
    }

    #[inline]
    pub fn run(self) {
        unsafe { ((*self.0).run)(self.0) }
    }
}

pub trait Pool: Sync + Sized {
    const NAME: &'static str;
    const VERSION: &'static str;
    const SLOWER: u32 = 1;

    /// Dropping it ends when all its threads are gone.
    fn start(workers: usize) -> Self;
    fn submit(&self, task: Task);
    /// From a task of the pool.
    fn spawn(&self, task: Task);
    /// A task that does nothing, from outside, and wait for it.
    fn run(&self);
}

/// The computations, with a fork at every call; called from outside.
pub trait Forks: Pool {
    /// 0: the full size.
    const FIB_SIZE: i32 = 0;

    fn fib(&self, n: i32) -> i64;
    fn nqueens(&self, size: usize) -> i64;
    fn skynet(&self, digits: i32) -> i64;
    fn uts(&self, tree: work::Tree) -> i64;
    fn matmul(&self, all: work::Product);
}

type Work = extern "C" fn(*mut c_void, c_int) -> c_long;

/// `struct peer`.
#[repr(C)]
struct Peer {
    name: *const c_char,
    version: *const c_char,
    start: extern "C" fn(c_uint) -> *mut c_void,
    stop: extern "C" fn(*mut c_void),
    once: bool,
    no_create: *const c_char,
    submit: extern "C" fn(*mut c_void, *mut Job, usize),
    no_submit: *const c_char,
    spawn: extern "C" fn(*mut c_void, *mut Job, usize),
    no_spawn: *const c_char,
    run: extern "C" fn(*mut c_void),
    work: [Option<Work>; 5],
    no_work: *const c_char,
    fib_size: c_int,
    slower: c_uint,
}

extern "C" {
    fn peer_main(peer: *const Peer, argc: c_int, argv: *mut *mut c_char) -> c_int;
}

/// Answers the question on the command line, for a pool that does not fork: `why`.
pub fn contest<P: Pool>(why: &str) -> ! {
    ask(Peer { no_work: text(why), ..peer::<P>() })
}

pub fn contest_forks<P: Forks>() -> ! {
    ask(Peer {
        work: [
            Some(fib::<P>),
            Some(nqueens::<P>),
            Some(skynet::<P>),
            Some(uts::<P>),
            Some(matmul::<P>),
        ],
        fib_size: P::FIB_SIZE,
        ..peer::<P>()
    })
}

fn peer<P: Pool>() -> Peer {
    Peer {
        name: text(P::NAME),
        version: text(P::VERSION),
        start: start::<P>,
        stop: stop::<P>,
        once: false,
        no_create: ptr::null(),
        submit: submit::<P>,
        no_submit: ptr::null(),
        spawn: spawn::<P>,
        no_spawn: ptr::null(),
        run: run::<P>,
        work: [None; 5],
        no_work: ptr::null(),
        fib_size: 0,
        slower: P::SLOWER,
    }
}

/// For C, and for as long as the program runs.
fn text(s: impl Into<Vec<u8>>) -> *mut c_char {
    CString::new(s).unwrap().into_raw()
}

fn ask(peer: Peer) -> ! {
    let mut argv: Vec<*mut c_char> = std::env::args_os().map(|a| text(a.into_vec())).collect();
    let argc = argv.len() as c_int;

    argv.push(ptr::null_mut());
    std::process::exit(unsafe { peer_main(&peer, argc, argv.as_mut_ptr()) })
}

// ---------------------------------------------------------------- what C calls

extern "C" fn start<P: Pool>(workers: c_uint) -> *mut c_void {
    Box::into_raw(Box::new(P::start(workers as usize))).cast()
}

extern "C" fn stop<P: Pool>(pool: *mut c_void) {
    drop(unsafe { Box::from_raw(pool.cast::<P>()) });
}

/// What start() returned; several threads may use it at once, as pools are Sync.
fn pool_of<'a, P: Pool>(pool: *mut c_void) -> &'a P {
    unsafe { &*pool.cast::<P>() }
}

extern "C" fn submit<P: Pool>(pool: *mut c_void, jobs: *mut Job, count: usize) {
    for i in 0..count {
        pool_of::<P>(pool).submit(Task(unsafe { jobs.add(i) }));
    }
}

extern "C" fn spawn<P: Pool>(pool: *mut c_void, jobs: *mut Job, count: usize) {
    for i in 0..count {
        pool_of::<P>(pool).spawn(Task(unsafe { jobs.add(i) }));
    }
}

extern "C" fn run<P: Pool>(pool: *mut c_void) {
    pool_of::<P>(pool).run();
}

extern "C" fn fib<P: Forks>(pool: *mut c_void, size: c_int) -> c_long {
    pool_of::<P>(pool).fib(size)
}

extern "C" fn nqueens<P: Forks>(pool: *mut c_void, size: c_int) -> c_long {
    pool_of::<P>(pool).nqueens(size as usize)
}

extern "C" fn skynet<P: Forks>(pool: *mut c_void, size: c_int) -> c_long {
    pool_of::<P>(pool).skynet(size)
}

extern "C" fn uts<P: Forks>(pool: *mut c_void, size: c_int) -> c_long {
    pool_of::<P>(pool).uts(work::Tree::new(size))
}

extern "C" fn matmul<P: Forks>(pool: *mut c_void, size: c_int) -> c_long {
    pool_of::<P>(pool).matmul(work::Product::all(size as usize));
    size.into()
}
