//! After a 101: bytes in both directions, understood by neither side of this node.

use bytes::Bytes;
use headland_origin::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes};

/// The buffer of each direction, in bytes.
const BUFFER_BYTES: usize = 16 << 10;

/// Carries bytes until both sides have ended or one breaks; `early` is what the client sent ahead. Returns the number
/// of bytes that went to the client.
pub async fn carry<C: AsyncRead + AsyncWrite + Unpin>(client: &mut C, early: Bytes, mut origin: Upgraded) -> u64 {
    if origin.write_all(&early).await.is_err() {
        return 0;
    }
    match copy_bidirectional_with_sizes(client, &mut origin, BUFFER_BYTES, BUFFER_BYTES).await {
        Ok((_, to_client)) => to_client,
        // One side broke off; how much had passed is not known.
        Err(_) => 0,
    }
}
