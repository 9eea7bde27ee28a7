//! What pours, moved from socket to socket inside the kernel (`splice`): its pages change hands and are not copied.

use std::{io, os::fd::OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use super::{
    carry::Carried,
    socket::{Incoming, Outgoing, SMALL},
};

/// What may lie between the two sockets, in bytes.
const ROOM: usize = 1 << 20;

/// Carries bytes as long as many come at once; None when it has become less, and where the system gives no pipe. `passed` is
/// told how many left.
pub(super) async fn pour(from: &mut Incoming, to: &mut Outgoing, passed: &impl Fn(usize)) -> Option<Carried> {
    let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
    // Less room does as well: the system may grant no more.
    let _ = fcntl_setpipe_size(&inlet, ROOM);
    loop {
        let came = match fill(from, &inlet).await {
            Ok(0) => return Some(Carried::End),
            Ok(came) => came,
            Err(error) => return Some(Carried::Unread(error)),
        };
        let mut held = came;
        while held > 0 {
            match drain(to, &outlet, held).await {
                Ok(left) => held -= left,
                Err(error) => return Some(Carried::Unsent(error)),
            }
        }
        passed(came);
        if came < SMALL {
            return None;
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Into the pipe, which is empty: so nothing but the source is waited for.
async fn fill(from: &Incoming, inlet: &OwnedFd) -> io::Result<usize> {
    let socket = from.half.as_ref();
    let moved = || splice(socket, None, inlet, None, ROOM, FLAGS).map_err(io::Error::from);
    socket.async_io(Interest::READABLE, moved).await
}

/// Out of the pipe; 0 is an error, since something is in it.
async fn drain(to: &Outgoing, outlet: &OwnedFd, held: usize) -> io::Result<usize> {
    let socket = to.half()?.as_ref();
    let moved = || splice(outlet, None, socket, None, held, FLAGS).map_err(io::Error::from);
    match socket.async_io(Interest::WRITABLE, moved).await {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        done => done,
    }
}
