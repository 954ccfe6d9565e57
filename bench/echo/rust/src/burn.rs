// SPDX-License-Identifier: MIT
//
//! The work of a heavy message: as much processor time of the thread as ../server.c burns.

use std::hint::black_box;

const MIXED_BYTES: usize = 64;
const BURN_NS: i64 = 1_000_000;
const BURN_STEPS: u32 = 2000;

fn thread_ns() -> i64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };

    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

pub fn burn() {
    let end = thread_ns() + BURN_NS;

    while thread_ns() < end {
        for i in 0..BURN_STEPS {
            black_box(i);
        }
    }
}

/// How many heavy messages begin in the next part of a stream, of which `at` bytes of a message
/// have been seen.
pub fn heavy(at: &mut usize, data: &[u8]) -> usize {
    let next = (MIXED_BYTES - *at) % MIXED_BYTES;

    *at = (*at + data.len()) % MIXED_BYTES;
    data.iter().skip(next).step_by(MIXED_BYTES).filter(|&&b| b == b'H').count()
}
