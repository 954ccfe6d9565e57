// SPDX-License-Identifier: MIT
//
//! tokio's multi-threaded runtime: one `tokio::spawn` per job and per fork, `await` for joins; the
//! last of several children is called instead. An `async fn` that calls itself needs a box for it,
//! as a future has to have a size; a task brings its own.

use face::work::{skynet_leaves, Board, Node, Product, Tree, SKYNET_CHILDREN};
use face::{Forks, Pool, Task};
use std::future::Future;
use std::pin::Pin;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

struct Tokio(Runtime);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Tokio {
    /// On a worker: the thread that calls block_on() is none.
    fn compute<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.0.block_on(self.0.spawn(work)).unwrap()
    }
}

impl Pool for Tokio {
    const NAME: &'static str = "tokio";
    const VERSION: &'static str = env!("VERSION_TOKIO");
    const SLOWER: u32 = 2;

    fn start(workers: usize) -> Self {
        Tokio(Builder::new_multi_thread().worker_threads(workers).build().expect("threads"))
    }

    fn submit(&self, task: Task) {
        self.0.spawn(async { task.run() });
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(async { task.run() });
    }

    fn run(&self) {
        self.compute(async {});
    }
}

impl Forks for Tokio {
    const FIB_SIZE: i32 = 30;

    fn fib(&self, n: i32) -> i64 {
        self.compute(fib(n))
    }

    fn nqueens(&self, size: usize) -> i64 {
        self.compute(nqueens(Board::default(), size))
    }

    fn skynet(&self, digits: i32) -> i64 {
        self.compute(skynet(0, skynet_leaves(digits)))
    }

    fn uts(&self, tree: Tree) -> i64 {
        self.compute(uts(tree, tree.root()))
    }

    fn matmul(&self, all: Product) {
        self.compute(matmul(all))
    }
}

// ---------------------------------------------------------------- fib

async fn fib(n: i32) -> i64 {
    if n < 2 {
        return n.into();
    }
    let b = fork_fib(n - 2);
    let a = call_fib(n - 1).await;
    a + b.await.unwrap()
}

fn fork_fib(n: i32) -> JoinHandle<i64> {
    tokio::spawn(fib(n))
}

fn call_fib(n: i32) -> Boxed<i64> {
    Box::pin(fib(n))
}

async fn sum(forks: Vec<JoinHandle<i64>>) -> i64 {
    let mut sum = 0;

    for fork in forks {
        sum += fork.await.unwrap();
    }
    sum
}

// ---------------------------------------------------------------- n queens

async fn nqueens(board: Board, size: usize) -> i64 {
    if board.is_full(size) {
        return 1;
    }
    match fork_rows(&board, size) {
        Some((forks, last)) => call_nqueens(last, size).await + sum(forks).await,
        None => 0,
    }
}

/// A future need not keep all the boards until its children are done.
fn fork_rows(board: &Board, size: usize) -> Option<(Vec<JoinHandle<i64>>, Board)> {
    let (next, count) = board.next(size);
    let (last, others) = next[..count].split_last()?;

    Some((others.iter().map(|&board| fork_nqueens(board, size)).collect(), *last))
}

fn fork_nqueens(board: Board, size: usize) -> JoinHandle<i64> {
    tokio::spawn(nqueens(board, size))
}

fn call_nqueens(board: Board, size: usize) -> Boxed<i64> {
    Box::pin(nqueens(board, size))
}

// ---------------------------------------------------------------- skynet

async fn skynet(number: i64, leaves: i64) -> i64 {
    if leaves == 1 {
        return number;
    }
    let part = leaves / SKYNET_CHILDREN;
    let last = SKYNET_CHILDREN - 1;
    let forks = (0..last).map(|i| fork_skynet(number + i * part, part)).collect();
    call_skynet(number + last * part, part).await + sum(forks).await
}

fn fork_skynet(number: i64, leaves: i64) -> JoinHandle<i64> {
    tokio::spawn(skynet(number, leaves))
}

fn call_skynet(number: i64, leaves: i64) -> Boxed<i64> {
    Box::pin(skynet(number, leaves))
}

// ---------------------------------------------------------------- unbalanced tree search

async fn uts(tree: Tree, node: Node) -> i64 {
    let children = tree.children(&node);

    if children == 0 {
        return 1;
    }
    let last = children - 1;
    let forks = (0..last).map(|i| fork_uts(tree, node, i)).collect();
    1 + call_uts(tree, node.child(last)).await + sum(forks).await
}

fn fork_uts(tree: Tree, parent: Node, index: i32) -> JoinHandle<i64> {
    tokio::spawn(async move { uts(tree, parent.child(index)).await })
}

fn call_uts(tree: Tree, node: Node) -> Boxed<i64> {
    Box::pin(uts(tree, node))
}

// ---------------------------------------------------------------- matrix multiplication

async fn matmul(product: Product) {
    if product.is_leaf() {
        return product.compute();
    }
    for k in 0..2 {
        let [a, b, c, last] = product.quarters(k);
        let forks = [a, b, c].map(fork_matmul);
        call_matmul(last).await;
        for fork in forks {
            fork.await.unwrap();
        }
    }
}

fn fork_matmul(product: Product) -> JoinHandle<()> {
    tokio::spawn(matmul(product))
}

fn call_matmul(product: Product) -> Boxed<()> {
    Box::pin(matmul(product))
}

fn main() {
    face::contest_forks::<Tokio>()
}
