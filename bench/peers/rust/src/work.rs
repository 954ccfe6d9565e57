// SPDX-License-Identifier: MIT
//
//! The leaves of the computations: the C ones of bench/common/work.h, and in Rust what is inline
//! there, because only functions can be called across languages.

use std::os::raw::c_int;

// ---------------------------------------------------------------- n queens

const QUEENS_MAX: usize = 16;

/// The columns of the queens that stand, row by row.
#[derive(Clone, Copy, Default)]
pub struct Board {
    column: [i8; QUEENS_MAX],
    rows: usize,
}

impl Board {
    pub fn is_full(&self, size: usize) -> bool {
        self.rows == size
    }

    /// Those with one more queen who is safe: the first so many of the array.
    #[inline]
    pub fn next(&self, size: usize) -> ([Board; QUEENS_MAX], usize) {
        let mut next = [*self; QUEENS_MAX];
        let mut count = 0;

        for i in 0..size {
            let board = &mut next[count];
            board.column[self.rows] = i as i8;
            board.rows = self.rows + 1;
            count += usize::from(board.is_safe());
        }
        (next, count)
    }

    /// The last queen, where she stands.
    #[inline]
    fn is_safe(&self) -> bool {
        let (last, others) = self.column[..self.rows].split_last().unwrap();

        others.iter().rev().zip(1..).all(|(other, away)| {
            let distance = i32::from(*last) - i32::from(*other);
            distance != 0 && distance != away && distance != -away
        })
    }
}

// ---------------------------------------------------------------- skynet

pub const SKYNET_CHILDREN: i64 = 10;

pub fn skynet_leaves(digits: i32) -> i64 {
    SKYNET_CHILDREN.pow(digits as u32)
}

// ---------------------------------------------------------------- unbalanced tree search

#[repr(C)]
struct CTree {
    opaque: [u8; 0],
}

/// `struct uts_node`: 20 bytes of SHA-1, and its depth.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Node {
    state: [u8; 20],
    depth: c_int,
}

extern "C" {
    fn uts_tree(size: c_int) -> *const CTree;
    fn uts_root(tree: *const CTree, node: *mut Node);
    fn uts_child(parent: *const Node, index: c_int, child: *mut Node);
    fn uts_children(tree: *const CTree, node: *const Node) -> c_int;
}

#[derive(Clone, Copy)]
pub struct Tree(*const CTree);

// It is constant.
unsafe impl Send for Tree {}
unsafe impl Sync for Tree {}

impl Tree {
    pub fn new(size: i32) -> Tree {
        Tree(unsafe { uts_tree(size) })
    }

    pub fn root(self) -> Node {
        let mut node = Node::default();

        unsafe { uts_root(self.0, &mut node) };
        node
    }

    #[inline]
    pub fn children(self, node: &Node) -> i32 {
        unsafe { uts_children(self.0, node) }
    }
}

impl Node {
    #[inline]
    pub fn child(&self, index: i32) -> Node {
        let mut node = Node::default();

        unsafe { uts_child(self, index, &mut node) };
        node
    }
}

// ---------------------------------------------------------------- matrix multiplication

const MATMUL_MAX: usize = 1024;
const MATMUL_STRIDE: usize = MATMUL_MAX + 8;
const MATMUL_LEAF: usize = 64;

#[repr(C)]
struct Matrices {
    a: *mut f64,
    b: *mut f64,
    c: *mut f64,
}

extern "C" {
    fn matmul_matrices() -> *const Matrices;
    fn matmul_leaf(c: *mut f64, a: *const f64, b: *const f64);
}

/// c += a b, of blocks of the matrices.
#[derive(Clone, Copy)]
pub struct Product {
    c: *mut f64,
    a: *const f64,
    b: *const f64,
    size: usize,
}

// Products that run at the same time write to different blocks.
unsafe impl Send for Product {}
unsafe impl Sync for Product {}

impl Product {
    pub fn all(size: usize) -> Product {
        let m = unsafe { &*matmul_matrices() };

        Product { c: m.c, a: m.a, b: m.b, size }
    }

    pub fn is_leaf(&self) -> bool {
        self.size == MATMUL_LEAF
    }

    pub fn compute(&self) {
        unsafe { matmul_leaf(self.c, self.a, self.b) }
    }

    /// Four products of halves that may run at the same time; `k` 1 after `k` 0.
    pub fn quarters(&self, k: usize) -> [Product; 4] {
        let half = self.size / 2;
        let at = |row: usize, column: usize| row * half * MATMUL_STRIDE + column * half;
        let quarter = |(i, j)| unsafe {
            Product {
                c: self.c.add(at(i, j)),
                a: self.a.add(at(i, k)),
                b: self.b.add(at(k, j)),
                size: half,
            }
        };

        [(0, 0), (0, 1), (1, 0), (1, 1)].map(quarter)
    }
}
