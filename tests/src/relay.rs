//! A network between a client and a gateway, over UDP and TCP at one port, as bad as a test wants it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What happens to datagrams: each number says how many of a hundred.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Are lost.
    pub lost: u64,
    /// Come twice.
    pub doubled: u64,
    /// Come late, after some of those that were sent later.
    pub late: u64,
    /// No datagram passes at all.
    pub no_udp: bool,
}

/// The running network; ended when dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where clients find the gateway.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    gateway: SocketAddr,
    front: UdpSocket,
    weather: Weather,
    seed: AtomicU64,
    passed: AtomicU64,
    retries: AtomicU64,
    /// The socket towards the gateway, for each client.
    backs: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Relay {
    /// A network to the gateway at this address.
    pub async fn start(gateway: &str, weather: Weather) -> Self {
        let gateway = gateway.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            gateway,
            front: UdpSocket::bind(address).await.unwrap(),
            weather,
            seed: AtomicU64::new(1),
            passed: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            backs: Mutex::default(),
        });
        let datagrams = tokio::spawn(there(Arc::clone(&shared)));
        let connections = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut gateway) = TcpStream::connect(gateway).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
                });
            }
        });
        Self { address, shared, tasks: vec![datagrams, connections] }
    }

    /// Datagrams that have passed, both ways.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::Relaxed)
    }

    /// How often the gateway asked an address to prove itself (Retry; RFC 9000, section 17.2.5).
    pub fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// From now on clients' datagrams reach the gateway from other addresses, as after a router was started anew.
    pub fn forget_addresses(&self) {
        self.shared.backs.lock().unwrap().clear();
    }
}

impl Shared {
    /// Whether this is one of `hundredths` of a hundred; the same in each run.
    fn happens(&self, hundredths: u64) -> bool {
        let seed = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        // SplitMix64, by Steele, Lea and Flood.
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 100 < hundredths
    }

    /// Lets a datagram pass as the weather is.
    async fn pass(self: &Arc<Self>, socket: Arc<UdpSocket>, to: Option<SocketAddr>, datagram: Vec<u8>) {
        if self.weather.no_udp || self.happens(self.weather.lost) {
            return;
        }
        self.passed.fetch_add(1, Ordering::Relaxed);
        if to.is_some() && matches!(datagram[..], [0xf0..=0xff, 0, 0, 0, 1, ..]) {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
        let times = if self.happens(self.weather.doubled) { 2 } else { 1 };
        let late = self.happens(self.weather.late);
        let shared = Arc::clone(self);
        let send = async move {
            for _ in 0..times {
                let _ = match to {
                    Some(to) => shared.front.send_to(&datagram, to).await,
                    None => socket.send(&datagram).await,
                };
            }
        };
        if late {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                send.await;
            });
        } else {
            send.await;
        }
    }
}

async fn there(shared: Arc<Shared>) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((len, client)) = shared.front.recv_from(&mut buffer).await else { continue };
        let known = shared.backs.lock().unwrap().get(&client).cloned();
        let back = match known {
            Some(back) => back,
            None => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(shared.gateway).await.unwrap();
                shared.backs.lock().unwrap().insert(client, Arc::clone(&back));
                tokio::spawn(and_back(Arc::clone(&shared), Arc::clone(&back), client));
                back
            }
        };
        shared.pass(back, None, buffer[..len].to_vec()).await;
    }
}

async fn and_back(shared: Arc<Shared>, back: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65536];
    while let Ok(received) = tokio::time::timeout(Duration::from_secs(60), back.recv(&mut buffer)).await {
        let Ok(len) = received else { continue };
        shared.pass(Arc::clone(&back), Some(client), buffer[..len].to_vec()).await;
    }
}
