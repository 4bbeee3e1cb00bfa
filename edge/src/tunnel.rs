//! After a 101: bytes in both directions, understood by neither side of this node.
//!
//! Nothing but silence tells that a peer is gone for good, so a tunnel that carries no byte for its idle time ends: it
//! holds a connection of the client's and one of the origin's.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::timeout;

/// The buffer of each direction, in bytes.
const BUFFER_BYTES: usize = 16 << 10;

/// Carries bytes until both sides have ended, one breaks, or both are silent for `idle`; `early` is what the client
/// sent ahead. Returns the number of bytes that went to the client.
pub async fn carry<C, O>(client: &mut C, early: Bytes, mut origin: O, idle: Duration) -> u64
where
    C: AsyncRead + AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    let traffic = Traffic::default();
    let mut client = Counted { client, traffic: &traffic };
    let mut carrying = pin!(async {
        origin.write_all(&early).await?;
        copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER_BYTES, BUFFER_BYTES).await
    });
    loop {
        let before = traffic.total();
        let ended = timeout(idle, carrying.as_mut()).await.is_ok();
        if ended || traffic.total() == before {
            return traffic.to_client.load(Relaxed);
        }
    }
}

/// Bytes that have passed the client's side, where all pass.
#[derive(Default)]
struct Traffic {
    from_client: AtomicU64,
    to_client: AtomicU64,
}

impl Traffic {
    fn total(&self) -> u64 {
        self.from_client.load(Relaxed) + self.to_client.load(Relaxed)
    }
}

struct Counted<'a, C> {
    client: &'a mut C,
    traffic: &'a Traffic,
}

impl<C: AsyncRead + Unpin> AsyncRead for Counted<'_, C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut *self.client).poll_read(cx, buf);
        self.traffic.from_client.fetch_add((buf.filled().len() - before) as u64, Relaxed);
        polled
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Counted<'_, C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.client).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            self.traffic.to_client.fetch_add(written as u64, Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.client).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.client).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    /// A tunnel, and the far ends of client and origin.
    fn tunnel(early: &'static str) -> (impl Future<Output = u64>, DuplexStream, DuplexStream) {
        let ((mut near, client), (far, origin)) = (duplex(64), duplex(64));
        let carrying = async move { carry(&mut near, Bytes::from_static(early.as_bytes()), far, IDLE).await };
        (carrying, client, origin)
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_early_goes_first_and_bytes_are_counted_however_it_ends() {
        let (carrying, mut client, mut origin) = tunnel("early ");
        let speaking = async move {
            client.write_all(b"hello").await.unwrap();
            let mut got = [0; 11];
            origin.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"early hello");
            origin.write_all(b"bye").await.unwrap();
            client.read_exact(&mut got[..3]).await.unwrap();
        };
        assert_eq!(tokio::join!(carrying, speaking).0, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_when_both_sides_are_silent_but_not_while_one_speaks() {
        let (carrying, mut client, _origin) = tunnel("");
        let started = Instant::now();
        let speaking = async move {
            for _ in 0..5 {
                sleep(IDLE * 4 / 5).await;
                client.write_all(b".").await.unwrap();
            }
            client
        };
        let (_, client) = tokio::join!(carrying, speaking);
        drop(client);
        assert!(started.elapsed() > IDLE * 4 && started.elapsed() < IDLE * 7, "{:?}", started.elapsed());
    }
}
