// SPDX-License-Identifier: MIT
//
//! Contestant: hyper, which parses, writes the heads and keeps connections; what a static server
//! needs besides is here. The files of a folder are read once and answered with from memory, or
//! with -f opened and read for each request. One worker is tokio's runtime of the current thread;
//! more are as many of them that share the port, or with -m its multi-threaded one.

use hyper::header::{HeaderValue, ACCEPT_RANGES, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use hyper::server::conn::Http;
use hyper::service::service_fn;
use hyper::{Body, Method, Request, Response, StatusCode};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use std::{env, fs, io, thread};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

struct File {
    bytes: hyper::body::Bytes,
    etag: HeaderValue,
    modified: HeaderValue,
}

struct Options {
    workers: usize,
    threads: bool,
    reread: bool,
    root: PathBuf,
    port: u16,
}

fn options() -> Option<Options> {
    let mut o =
        Options { workers: 1, threads: false, reread: false, root: PathBuf::new(), port: 0 };
    let mut words = env::args().skip(1);

    while let Some(word) = words.next() {
        match word.as_str() {
            "-w" => o.workers = words.next()?.parse().ok()?,
            "-d" => o.root = PathBuf::from(words.next()?),
            "-p" => o.port = words.next()?.parse().ok()?,
            "-m" => o.threads = true,
            "-f" => o.reread = true,
            _ => return None,
        }
    }
    Some(o).filter(|o| o.port != 0)
}

fn load(path: &Path) -> io::Result<File> {
    use std::io::Read;
    let mut file = fs::File::open(path)?;
    let about = file.metadata()?;
    let changed = about.modified()?;
    let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut bytes = Vec::with_capacity(about.len() as usize + 1);

    file.read_to_end(&mut bytes)?;
    let value = |text: String| HeaderValue::from_str(&text).expect("plain text");
    Ok(File {
        etag: value(format!("\"{:x}-{:x}\"", since.as_nanos(), about.len())),
        modified: value(httpdate::fmt_http_date(changed)),
        bytes: bytes.into(),
    })
}

fn load_all(root: &Path) -> io::Result<HashMap<String, File>> {
    let mut files = HashMap::new();

    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.insert(format!("/{}", entry.file_name().to_string_lossy()), load(&entry.path())?);
        }
    }
    Ok(files)
}

struct Site {
    root: Option<PathBuf>, // to read from, or None
    files: HashMap<String, File>,
}

fn found(file: &File) -> Response<Body> {
    let mut response = Response::new(Body::from(file.bytes.clone()));
    let head = response.headers_mut();

    head.insert(ETAG, file.etag.clone());
    head.insert(LAST_MODIFIED, file.modified.clone());
    head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn answer(site: &Site, request: &Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    let loaded;
    let file = match &site.root {
        None => site.files.get(path),
        Some(_) if path.contains("..") => None,
        Some(root) => {
            loaded = load(&root.join(path.trim_start_matches('/'))).ok();
            loaded.as_ref()
        }
    };

    match file {
        Some(file) if request.method() == Method::GET => found(file),
        _ => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn serve(listener: std::net::TcpListener, site: Arc<Site>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;

    loop {
        let (socket, _) = listener.accept().await?;
        let site = site.clone();
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Body>| {
                let response = answer(&site, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            // What a peer does wrong ends its connection only.
            let _ = Http::new()
                .http1_only(true)
                .pipeline_flush(true)
                .serve_connection(socket, service)
                .await;
        });
    }
}

fn listen(port: u16) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;

    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn run(o: &Options, site: Arc<Site>) -> io::Result<()> {
    let mut builder =
        if o.threads { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.worker_threads(o.workers).enable_io().build()?;
    let listener = listen(o.port)?;

    runtime.block_on(async move { tokio::spawn(serve(listener, site)).await })?
}

fn main() {
    if env::args().len() == 1 {
        println!("hyper {}", env!("VERSION_HYPER"));
        return;
    }
    let o = options().unwrap_or_else(|| {
        eprintln!("usage: hyper [-w workers] [-m] [-f] -d ROOT -p PORT");
        exit(2)
    });
    let files = load_all(&o.root).expect("a folder of files");
    let site = Arc::new(Site { root: o.reread.then(|| o.root.clone()), files });

    thread::scope(|scope| {
        for _ in 0..if o.threads { 1 } else { o.workers } {
            scope.spawn(|| {
                if let Err(e) = run(&o, site.clone()) {
                    eprintln!("hyper: {}", e);
                    exit(1);
                }
            });
        }
    });
}
