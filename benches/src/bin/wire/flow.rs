//! A target that does what its client's first byte says, and the clients: threads and plain sockets, so that what is between
//! them is what is measured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Bytes of a round trip.
const PING: usize = 64;
/// What is written at once.
const PIECE: usize = 128 << 10;

/// Pours after `p`, as many MiB as the four bytes after it say; echoes after `e`.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
}

/// A text of one MiB without anything that the standard packs look for.
pub(crate) fn water() -> Arc<Vec<u8>> {
    let mut text = Vec::with_capacity(1 << 20);
    let mut line = 0_u32;
    while text.len() < 1 << 20 {
        line += 1;
        let words = ["order", "shipped", "to the", "warehouse", "pending", "review", "of stock"];
        let pick = |by: u32| words[(line.wrapping_mul(2_654_435_761) >> by) as usize % words.len()];
        writeln!(text, "row {line} {} {} {} and {} by the evening shift", pick(3), pick(9), pick(15), pick(21))
            .unwrap();
    }
    text.truncate(1 << 20);
    Arc::new(text)
}

impl Target {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let water = water();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let water = Arc::clone(&water);
                thread::spawn(move || serve(socket, &water));
            }
        });
        Self { address }
    }
}

fn serve(mut socket: TcpStream, water: &[u8]) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut first = [0; 5];
    socket.read_exact(&mut first).ok()?;
    if first[0] == b'p' {
        for _ in 0..u32::from_be_bytes([first[1], first[2], first[3], first[4]]) {
            water.chunks(PIECE).try_for_each(|piece| socket.write_all(piece)).ok()?;
        }
        return Some(());
    }
    let mut ping = [0; PING];
    loop {
        socket.read_exact(&mut ping).ok()?;
        socket.write_all(&ping).ok()?;
    }
}

/// What a client says first to have so many MiB poured.
pub(crate) fn order(mebibytes: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(mebibytes).unwrap().to_be_bytes();
    [b'p', a, b, c, d]
}

/// MiB a second through `address`, over so many connections together.
pub(crate) fn pour(address: SocketAddr, mebibytes: usize, connections: usize) -> f64 {
    let each = mebibytes / connections;
    let start = Instant::now();
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            thread::spawn(move || {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.write_all(&order(each)).unwrap();
                let (mut buffer, mut all) = (vec![0; 256 << 10], 0);
                loop {
                    match socket.read(&mut buffer).unwrap() {
                        0 => break,
                        read => all += read,
                    }
                }
                assert_eq!(all, each << 20, "all of it has to arrive");
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    mebibytes as f64 / start.elapsed().as_secs_f64()
}

/// The time of a round trip through `address`, half of them are faster, in microseconds.
pub(crate) fn round_trip(address: SocketAddr, times: usize) -> f64 {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.write_all(b"e\0\0\0\0").unwrap();
    let mut ping = *b"a line of sixty-four bytes that holds nothing of anybody's life\n";
    let mut taken: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            socket.write_all(&ping).unwrap();
            socket.read_exact(&mut ping).unwrap();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    taken[times / 2]
}
