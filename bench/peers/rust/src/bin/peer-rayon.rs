// SPDX-License-Identifier: MIT
//
//! rayon: `ThreadPool::spawn` from outside, `rayon::spawn` from inside, `install` for round trips;
//! `join` where a computation has two halves and parallel iterators where it has many children.

use face::work::{skynet_leaves, Board, Node, Product, Tree, SKYNET_CHILDREN};
use face::{Forks, Pool, Task};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::thread::{self, JoinHandle};

/// Tree T3 is 1,500 levels deep, which is about all that a thread's usual 2 MiB can hold.
const STACK_BYTES: usize = 8 << 20;

/// rayon's own threads are not waited for when a pool is dropped, so they are started here.
struct Rayon {
    pool: Option<ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Rayon {
    fn pool(&self) -> &ThreadPool {
        self.pool.as_ref().unwrap()
    }
}

impl Pool for Rayon {
    const NAME: &'static str = "rayon";
    const VERSION: &'static str = env!("VERSION_RAYON");

    fn start(workers: usize) -> Self {
        let mut threads = Vec::new();
        let pool = ThreadPoolBuilder::new()
            .num_threads(workers)
            .spawn_handler(|worker| {
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                threads.push(builder.spawn(|| worker.run())?);
                Ok(())
            })
            .build()
            .expect("threads");

        Rayon { pool: Some(pool), threads }
    }

    fn submit(&self, task: Task) {
        self.pool().spawn(|| task.run());
    }

    fn spawn(&self, task: Task) {
        rayon::spawn(|| task.run());
    }

    fn run(&self) {
        self.pool().install(|| ());
    }
}

impl Drop for Rayon {
    fn drop(&mut self) {
        self.pool = None;
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Forks for Rayon {
    fn fib(&self, n: i32) -> i64 {
        self.pool().install(|| fib(n))
    }

    fn nqueens(&self, size: usize) -> i64 {
        self.pool().install(|| nqueens(&Board::default(), size))
    }

    fn skynet(&self, digits: i32) -> i64 {
        self.pool().install(|| skynet(0, skynet_leaves(digits)))
    }

    fn uts(&self, tree: Tree) -> i64 {
        self.pool().install(|| uts(tree, &tree.root()))
    }

    fn matmul(&self, all: Product) {
        self.pool().install(|| matmul(&all));
    }
}

fn fib(n: i32) -> i64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = rayon::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn nqueens(board: &Board, size: usize) -> i64 {
    if board.is_full(size) {
        return 1;
    }
    let (next, count) = board.next(size);
    next[..count].par_iter().map(|board| nqueens(board, size)).sum()
}

fn skynet(number: i64, leaves: i64) -> i64 {
    if leaves == 1 {
        return number;
    }
    let part = leaves / SKYNET_CHILDREN;
    (0..SKYNET_CHILDREN).into_par_iter().map(|i| skynet(number + i * part, part)).sum()
}

fn uts(tree: Tree, node: &Node) -> i64 {
    let children = tree.children(node);

    if children == 0 {
        return 1;
    }
    1 + (0..children).into_par_iter().map(|i| uts(tree, &node.child(i))).sum::<i64>()
}

fn matmul(product: &Product) {
    if product.is_leaf() {
        return product.compute();
    }
    for k in 0..2 {
        product.quarters(k).par_iter().for_each(matmul);
    }
}

fn main() {
    face::contest_forks::<Rayon>()
}
