// SPDX-License-Identifier: MIT
//
// Tells the program which version of hyper it got, which is what cargo has just written to
// Cargo.lock.

use std::fs;

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("cargo writes it before it runs this");
    let name = "name = \"hyper\"\nversion = \"";
    let start = lock.find(name).expect("a dependency") + name.len();
    let version = lock[start..].split('"').next().expect("a version");

    println!("cargo:rustc-env=VERSION_HYPER={}", version);
}
