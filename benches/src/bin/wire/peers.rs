//! The peers that are programs: HAProxy and PgBouncer, each with a configuration of its own in a temporary folder.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sluice_tests::postgres::{DATABASE, PASSWORD, Postgres, USER, free_port};
use tempfile::TempDir;

/// A peer that runs; ended when dropped.
struct Peer {
    child: Child,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(mut command: Command, folder: TempDir, address: SocketAddr) -> Result<Peer, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let shown = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().map_err(|error| format!("{shown}: {error}; `cargo xtask wire` installs it"))?;
    let mut peer = Peer { child, _folder: folder };
    for _ in 0..100 {
        if TcpStream::connect(address).is_ok() {
            return Ok(peer);
        }
        if let Ok(Some(status)) = peer.child.try_wait() {
            return Err(format!("{shown} ended: {status}"));
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("{shown} doesn't listen"))
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// HAProxy in TCP mode, as it comes: a thread for each core.
pub(crate) struct HaProxy {
    pub(crate) address: SocketAddr,
    _peer: Peer,
}

impl HaProxy {
    pub(crate) fn start(target: SocketAddr) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let address = local(free_port());
        let config = folder.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             frontend in\n  bind {address}\n  default_backend out\nbackend out\n  server target {target}\n"
        );
        std::fs::write(&config, text).map_err(|error| error.to_string())?;
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&config);
        Ok(Self { address, _peer: start(command, folder, address)? })
    }
}

/// PgBouncer in session mode; clients need no password.
pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    _peer: Peer,
}

impl PgBouncer {
    pub(crate) fn start(postgres: &Postgres) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = free_port();
        let write = |name: &str, text: String| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).map(|()| file).map_err(|error| error.to_string())
        };
        let users = write("users.txt", format!("\"{USER}\" \"{PASSWORD}\"\n"))?;
        let config = write(
            "pgbouncer.ini",
            format!(
                "[databases]\n{DATABASE} = host=127.0.0.1 port={} dbname={DATABASE} user={USER}\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
                 pool_mode = session\ndefault_pool_size = 64\nmax_client_conn = 200\nserver_tls_sslmode = disable\n\
                 ignore_startup_parameters = extra_float_digits\n",
                postgres.port,
                users.display()
            ),
        )?;
        let own = |path: &Path| Command::new("chown").args(["-R", "postgres:postgres"]).arg(path).status();
        // It doesn't run as root, and Debian puts it where not everybody looks for programs.
        let is_root = own(folder.path()).is_ok_and(|status| status.success());
        let mut command = match is_root {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", "/usr/sbin/pgbouncer"]);
                command
            }
            false => Command::new("/usr/sbin/pgbouncer"),
        };
        command.arg(config);
        Ok(Self { port, _peer: start(command, folder, local(port))? })
    }
}
