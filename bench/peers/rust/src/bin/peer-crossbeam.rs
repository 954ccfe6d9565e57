// SPDX-License-Identifier: MIT
//
//! A pool as users build it from crossbeam's parts: an injector for jobs from outside, a deque per
//! worker for jobs from inside, and everybody steals from everybody. Workers are pinned and search
//! for as long as crossbeam's `Backoff` has it (about 130 pauses and four yields), then they park.
//!
//! Waking up is what costs: a submission wakes one sleeper, and only if nobody is searching. Who
//! submits pushes and then looks for searchers; who gives up the search says so and then looks for
//! jobs once more. Both pass a sequentially consistent fence in between, so that one of the two
//! sees the other and no job is left behind. The last searcher that finds a job wakes the next one
//! if there are more.

use crossbeam::deque::{Injector, Steal, Stealer, Worker};
use crossbeam::utils::{Backoff, CachePadded};
use face::{Job, Pool, Task};
use std::cell::Cell;
use std::sync::atomic::{fence, AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::{iter, mem, ptr};

struct Sleeper {
    index: usize,
    thread: Thread,
}

struct Shared {
    injector: Injector<Task>,
    stealers: Vec<Stealer<Task>>,
    stop: AtomicBool,

    /// Workers that look for jobs, with those that were woken and do not run yet.
    searching: CachePadded<AtomicUsize>,
    /// As many as `sleepers` has: to look without the lock.
    asleep: CachePadded<AtomicUsize>,
    /// Parked, or about to.
    sleepers: Mutex<Vec<Sleeper>>,
    /// Of each worker: it was taken out of `sleepers`.
    woken: Vec<CachePadded<AtomicBool>>,
}

/// What a worker has for itself.
struct Local {
    index: usize,
    deque: Worker<Task>,
    shared: Arc<Shared>,
}

thread_local! {
    static LOCAL: Cell<*const Local> = const { Cell::new(ptr::null()) };
}

impl Shared {
    fn new(deques: &[Worker<Task>]) -> Shared {
        Shared {
            injector: Injector::new(),
            stealers: deques.iter().map(Worker::stealer).collect(),
            stop: AtomicBool::new(false),
            searching: CachePadded::new(AtomicUsize::new(deques.len())),
            asleep: CachePadded::new(AtomicUsize::new(0)),
            sleepers: Mutex::new(Vec::with_capacity(deques.len())),
            woken: deques.iter().map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
        }
    }

    fn has_jobs(&self) -> bool {
        !self.injector.is_empty() || self.stealers.iter().any(|s| !s.is_empty())
    }

    /// After a push: pairs with the fence in Local::sleep().
    fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::Acquire) == 0 {
            self.wake_one();
        }
    }

    /// Unless somebody else has just been woken: that one will see to the rest.
    fn wake_one(&self) {
        if self.asleep.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut sleepers = self.sleepers.lock().unwrap();
        if self.searching.load(Ordering::SeqCst) != 0 {
            return;
        }
        if let Some(sleeper) = sleepers.pop() {
            self.leave();
            drop(sleepers);
            self.wake(sleeper);
        }
    }

    /// Of one of `sleepers`, under its lock.
    fn leave(&self) {
        self.searching.fetch_add(1, Ordering::SeqCst);
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake(&self, sleeper: Sleeper) {
        self.woken[sleeper.index].store(true, Ordering::Release);
        sleeper.thread.unpark();
    }
}

impl Local {
    fn work(&self) {
        LOCAL.with(|local| local.set(self));
        while let Some(task) = self.search() {
            self.end_search();
            task.run();
            while let Some(task) = self.find() {
                task.run();
            }
            self.shared.searching.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// None: the pool stops. The caller counts as searching, before and after.
    fn search(&self) -> Option<Task> {
        loop {
            let backoff = Backoff::new();
            while !backoff.is_completed() {
                if let Some(task) = self.find() {
                    return Some(task);
                }
                backoff.snooze();
            }
            if self.shared.stop.load(Ordering::Acquire) {
                return None;
            }
            self.sleep();
        }
    }

    fn find(&self) -> Option<Task> {
        self.deque.pop().or_else(|| {
            iter::repeat_with(|| {
                self.shared.injector.steal_batch_and_pop(&self.deque).or_else(|| self.steal())
            })
            .find(|found| !found.is_retry())
            .and_then(Steal::success)
        })
    }

    /// From the others, beginning with the neighbour.
    fn steal(&self) -> Steal<Task> {
        let (before, after) = self.shared.stealers.split_at(self.index);

        after[1..].iter().chain(before).map(|s| s.steal_batch_and_pop(&self.deque)).collect()
    }

    /// The last searcher to leave may be the one that submitters relied on.
    fn end_search(&self) {
        let shared = &self.shared;

        if shared.searching.fetch_sub(1, Ordering::SeqCst) == 1
            && shared.asleep.load(Ordering::Relaxed) > 0
        {
            fence(Ordering::SeqCst);
            if shared.has_jobs() {
                shared.wake_one();
            }
        }
    }

    fn sleep(&self) {
        let shared = &self.shared;
        let woken = &shared.woken[self.index];

        woken.store(false, Ordering::Relaxed);
        {
            let mut sleepers = shared.sleepers.lock().unwrap();
            sleepers.push(Sleeper { index: self.index, thread: thread::current() });
            shared.asleep.fetch_add(1, Ordering::SeqCst);
        }
        shared.searching.fetch_sub(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if (shared.has_jobs() || shared.stop.load(Ordering::Relaxed)) && self.withdraw() {
            return;
        }
        while !woken.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// False: somebody is waking this worker at the moment.
    fn withdraw(&self) -> bool {
        let mut sleepers = self.shared.sleepers.lock().unwrap();

        match sleepers.iter().position(|s| s.index == self.index) {
            None => false,
            Some(i) => {
                sleepers.remove(i);
                self.shared.leave();
                true
            }
        }
    }
}

// ---------------------------------------------------------------- the pool

struct Crossbeam {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool for Crossbeam {
    const NAME: &'static str = "crossbeam";
    const VERSION: &'static str = env!("VERSION_CROSSBEAM");

    fn start(workers: usize) -> Self {
        let cpus = cpus();
        let deques: Vec<_> = (0..workers).map(|_| Worker::new_fifo()).collect();
        let shared = Arc::new(Shared::new(&deques));
        let start = |(index, deque)| {
            let local = Local { index, deque, shared: shared.clone() };
            let cpu = cpus[index % cpus.len()];
            thread::spawn(move || {
                pin(cpu);
                local.work();
            })
        };
        let threads = deques.into_iter().enumerate().map(start).collect();

        Crossbeam { shared, threads }
    }

    fn submit(&self, task: Task) {
        self.shared.injector.push(task);
        self.shared.notify();
    }

    fn spawn(&self, task: Task) {
        LOCAL.with(|local| unsafe { &*local.get() }.deque.push(task));
        self.shared.notify();
    }

    fn run(&self) {
        let mut signal = Signal {
            job: Job::new(Signal::set),
            done: AtomicBool::new(false),
            waiter: thread::current(),
        };

        self.submit(Task::new(ptr::addr_of_mut!(signal).cast()));
        signal.wait();
    }
}

impl Drop for Crossbeam {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        {
            let mut sleepers = self.shared.sleepers.lock().unwrap();
            for sleeper in sleepers.drain(..) {
                self.shared.leave();
                self.shared.wake(sleeper);
            }
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

// ---------------------------------------------------------------- waiting for a job

/// A job that does nothing but tell who waits for it.
#[repr(C)]
struct Signal {
    job: Job,
    done: AtomicBool,
    waiter: Thread,
}

impl Signal {
    unsafe extern "C" fn set(job: *mut Job) {
        let signal = job as *const Signal;
        // Once it is done, the signal may be gone.
        let waiter = (*signal).waiter.clone();

        (*signal).done.store(true, Ordering::Release);
        waiter.unpark();
    }

    fn wait(&self) {
        let backoff = Backoff::new();

        while !self.done.load(Ordering::Acquire) {
            if backoff.is_completed() {
                thread::park();
            } else {
                backoff.snooze();
            }
        }
    }
}

// ---------------------------------------------------------------- processors

/// Those that the process may use.
fn cpus() -> Vec<usize> {
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();

        if libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) != 0 {
            panic!("no processors are known");
        }
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

/// A processor that has gone since is no reason to fail.
fn pin(cpu: usize) {
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();

        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, mem::size_of_val(&set), &set);
    }
}

fn main() {
    face::contest::<Crossbeam>("the parts are queues: joining a job is the user's to write")
}
