// SPDX-License-Identifier: MIT
//
// Links the programs with the C library that asks the questions ($LIBPEER), and tells them which
// versions of the peers they got, which is what cargo has just written to Cargo.lock, and by which
// compiler.

use std::process::Command;
use std::{env, fs};

const PEERS: [&str; 3] = ["crossbeam", "rayon", "tokio"];

fn main() {
    let library = env::var("LIBPEER").expect("the script `build` sets LIBPEER");

    println!("cargo:rerun-if-env-changed=LIBPEER");
    println!("cargo:rerun-if-changed={}", library);
    println!("cargo:rerun-if-changed=Cargo.lock");
    for argument in [library.as_str(), "-lm", "-lpthread"] {
        println!("cargo:rustc-link-arg-bins={}", argument);
    }
    let lock = fs::read_to_string("Cargo.lock").expect("cargo writes it before it runs this");
    let compiler = compiler();
    for peer in PEERS {
        let version = version(&lock, peer);
        println!("cargo:rustc-env=VERSION_{}={} ({})", peer.to_uppercase(), version, compiler);
    }
}

/// Its name and version.
fn compiler() -> String {
    let rustc = env::var("RUSTC").expect("cargo sets RUSTC");
    let output = Command::new(rustc).arg("--version").output().expect("a version");
    let line = String::from_utf8(output.stdout).expect("text");

    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The line `version = "..."` that follows the package's name.
fn version<'a>(lock: &'a str, package: &str) -> &'a str {
    let name = format!("name = \"{}\"\nversion = \"", package);
    let start = lock.find(&name).expect("a dependency") + name.len();

    lock[start..].split('"').next().unwrap()
}
