// SPDX-License-Identifier: MIT
//
//! tokio's pool for blocking calls, which is what its users give plain jobs to: `spawn_blocking`.
//! The scheduler for asynchronous tasks takes no part, hence the runtime of the current thread.

use face::{Pool, Task};
use tokio::runtime::{Builder, Runtime};

struct Blocking(Runtime);

impl Pool for Blocking {
    const NAME: &'static str = "tokio-blocking";
    const VERSION: &'static str = env!("VERSION_TOKIO");
    const SLOWER: u32 = 2;

    fn start(workers: usize) -> Self {
        let runtime = Builder::new_current_thread().max_blocking_threads(workers).build();

        Blocking(runtime.expect("threads"))
    }

    fn submit(&self, task: Task) {
        self.0.spawn_blocking(|| task.run());
    }

    fn spawn(&self, task: Task) {
        tokio::task::spawn_blocking(|| task.run());
    }

    fn run(&self) {
        self.0.block_on(self.0.spawn_blocking(|| ())).unwrap();
    }
}

fn main() {
    face::contest::<Blocking>("a blocking task that waits for another keeps its thread")
}
