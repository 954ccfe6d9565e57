// SPDX-License-Identifier: MIT
//
//! Contestant: tokio, a task for each connection. One worker is its runtime of the current thread,
//! more are its multi-threaded one. With -o heavy messages are given to spawn_blocking(), which its
//! manual asks for.

mod burn;

use std::env;
use std::process::exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

#[derive(Clone, Copy)]
struct Options {
    workers: usize,
    mixed: bool,
    offload: bool,
    buffer_bytes: usize,
    port: u16,
}

fn options() -> Option<Options> {
    let mut o =
        Options { workers: 1, mixed: false, offload: false, buffer_bytes: 16384, port: 0 };
    let mut words = env::args().skip(1);

    while let Some(word) = words.next() {
        match word.as_str() {
            "-w" => o.workers = words.next()?.parse().ok()?,
            "-b" => o.buffer_bytes = words.next()?.parse().ok()?,
            "-m" => o.mixed = true,
            "-o" => o.offload = true,
            port => o.port = port.parse().ok()?,
        }
    }
    Some(o).filter(|o| o.port != 0)
}

async fn echo(mut socket: TcpStream, o: Options) -> std::io::Result<()> {
    let mut buffer = vec![0; o.buffer_bytes];
    let mut at = 0;

    socket.set_nodelay(true)?;
    loop {
        let n = socket.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        if o.mixed {
            for _ in 0..burn::heavy(&mut at, &buffer[..n]) {
                if o.offload {
                    spawn_blocking(burn::burn).await?;
                } else {
                    burn::burn();
                }
            }
        }
        socket.write_all(&buffer[..n]).await?;
    }
}

async fn serve(o: Options) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", o.port)).await?;

    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(echo(socket, o));
    }
}

fn main() {
    if env::args().len() == 1 {
        println!("tokio {}", env!("VERSION_TOKIO"));
        return;
    }
    let o = options().unwrap_or_else(|| {
        eprintln!("usage: tokio [-w workers] [-m] [-o] [-b bytes] PORT");
        exit(2)
    });
    let mut builder =
        if o.workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.worker_threads(o.workers).enable_io().build().expect("a runtime");

    if let Err(e) = runtime.block_on(async move { tokio::spawn(serve(o)).await }) {
        eprintln!("tokio: {}", e);
        exit(1);
    }
}
