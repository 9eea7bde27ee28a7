//! Bytes that nothing is looked for in, from socket to socket. What comes in small pieces is copied once, by way of memory that
//! the thread lends; what pours is moved inside the kernel and not copied at all.

use std::{cell::RefCell, future::poll_fn, io, pin::Pin, task::Poll, task::ready};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::socket::{Incoming, Outgoing, PIECE, Target as _};

/// So many full pieces in a row are a pour.
#[cfg(target_os = "linux")]
const POURS: u32 = 4;

thread_local! {
    /// Where a piece lies between the read and the write, which are one step.
    static DESK: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// How it ended.
pub(super) enum Carried {
    /// The source ended, and all of it was taken.
    End,
    /// The source broke off.
    Unread(io::Error),
    /// The other side takes no more.
    Unsent(io::Error),
}

/// What one step did.
enum Step {
    End,
    /// So many bytes came, and all of them left.
    Whole(usize),
    /// So many bytes came, and these could not leave at once.
    Part(usize, Bytes),
    Unsent(io::Error),
}

/// Carries bytes until the source ends; `passed` is told how many left.
pub(super) async fn carry(from: &mut Incoming, to: &mut Outgoing, passed: impl Fn(usize)) -> Carried {
    let mut full = 0;
    loop {
        let came = match step(from, to).await {
            Ok(Step::End) => return Carried::End,
            Ok(Step::Whole(came)) => came,
            Ok(Step::Part(came, rest)) => {
                if let Err(error) = to.send(&mut [rest]).await {
                    return Carried::Unsent(error);
                }
                came
            }
            Ok(Step::Unsent(error)) => return Carried::Unsent(error),
            Err(error) => return Carried::Unread(error),
        };
        passed(came);
        full = if came == PIECE { full + 1 } else { 0 };
        #[cfg(target_os = "linux")]
        if full >= POURS {
            full = 0;
            if let Some(ended) = super::splice::pour(from, to, &passed).await {
                return ended;
            }
        }
    }
}

/// Reads what is there and writes it in one go: while nothing is there, nothing is held.
async fn step(from: &mut Incoming, to: &Outgoing) -> io::Result<Step> {
    poll_fn(|context| {
        DESK.with_borrow_mut(|desk| {
            let mut piece = ReadBuf::new(desk);
            ready!(Pin::new(&mut from.half).poll_read(context, &mut piece))?;
            let came = piece.filled();
            if came.is_empty() {
                return Poll::Ready(Ok(Step::End));
            }
            let left = match to.half().and_then(|half| half.try_write(came)) {
                Ok(left) => left,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Poll::Ready(Ok(Step::Unsent(error))),
            };
            let step = match &came[left..] {
                [] => Step::Whole(came.len()),
                rest => Step::Part(came.len(), Bytes::copy_from_slice(rest)),
            };
            Poll::Ready(Ok(step))
        })
    })
    .await
}
