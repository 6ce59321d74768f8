//! The first exchange on a connection: [`Hello`] from whoever dialled, [`Welcome`] back.
//!
//! A hello of another release may not decode, but its magic and version do: it is answered with the
//! reason instead of a closed connection.

use std::time::Duration;

use common::id::{ClusterId, Incarnation, MapEpoch};
use common::limit::FRAME_BYTES_MAX;
use common::wire::hello::{Hello, MAGIC, PROTOCOL_VERSION, Refusal, Welcome};
use common::wire::{self, DecodeError};
use quinn::{Connection, ConnectionError, ReadExactError, RecvStream};

use crate::framed::{FrameError, FramedRecv, FramedSend};

/// Bytes of a hello: names and numbers.
const HELLO_BYTES_MAX: usize = 4096;
/// A stranger who says nothing is not waited for longer than this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The other end will not talk to us. Trying again changes nothing unless the map does.
    #[error("the daemon refuses the connection: {0}")]
    Refused(Refusal),
    #[error(
        "the daemon does not accept our certificate: {0}; issue it with the cluster's own authority"
    )]
    Untrusted(ConnectionError),
    #[error("the connection broke: {0}")]
    Lost(#[from] ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the other end says nothing")]
    TimedOut,
    #[error("the other end does not begin with a hello")]
    NoHello,
}

/// A connection on which both sides know each other.
#[derive(Debug)]
pub struct Greeted {
    pub send: FramedSend,
    pub recv: FramedRecv,
    pub incarnation: Incarnation,
    pub map_epoch: MapEpoch,
    /// Messages of ours that the listener has received before; 0 unless we are a rank.
    pub received: u64,
}

/// For the dialler: opens the control stream and says hello.
///
/// # Errors
/// [`HelloError::Refused`] holds the reason in the listener's words.
pub async fn greet(connection: &Connection, hello: &Hello) -> Result<Greeted, HelloError> {
    let answered = tokio::time::timeout(HELLO_TIMEOUT, exchange(connection, hello)).await;
    let answered = answered.unwrap_or(Err(HelloError::TimedOut));
    // A listener that does not trust us says so only after the dialler's handshake is complete.
    answered.map_err(|error| match (connection.close_reason(), error) {
        (_, refused @ HelloError::Refused(_)) => refused,
        (Some(reason @ ConnectionError::ConnectionClosed(_)), _) => HelloError::Untrusted(reason),
        (_, other) => other,
    })
}

async fn exchange(connection: &Connection, hello: &Hello) -> Result<Greeted, HelloError> {
    let (send, recv) = connection.open_bi().await?;
    let mut send = FramedSend::new(send);
    let mut recv = FramedRecv::new(recv, FRAME_BYTES_MAX);
    send.send(hello).await?;
    match recv.next::<Welcome>().await?.ok_or(HelloError::NoHello)? {
        Welcome::Accepted { incarnation, map_epoch, received } => {
            Ok(Greeted { send, recv, incarnation, map_epoch, received })
        }
        Welcome::Refused(refusal) => Err(HelloError::Refused(refusal)),
    }
}

/// For the listener: what somebody said first, and the stream to answer on.
#[derive(Debug)]
pub struct Stranger {
    pub hello: Hello,
    pub send: FramedSend,
    pub recv: FramedRecv,
}

/// Waits for the control stream and the hello. One that is not meant for us is refused here.
///
/// # Errors
/// The connection is of no use; whoever dialled was told why, if it can be told.
pub async fn receive(connection: &Connection, cluster: ClusterId) -> Result<Stranger, HelloError> {
    let (send, mut recv) = match tokio::time::timeout(HELLO_TIMEOUT, connection.accept_bi()).await {
        Ok(accepted) => accepted?,
        Err(_) => return Err(HelloError::TimedOut),
    };
    let send = FramedSend::new(send);
    let first = match tokio::time::timeout(HELLO_TIMEOUT, read_hello(&mut recv)).await {
        Ok(first) => first?,
        Err(_) => return Err(HelloError::TimedOut),
    };
    match first.and_then(|hello| check(&hello, cluster).map(|()| hello)) {
        Ok(hello) => {
            let recv = FramedRecv::new(recv, FRAME_BYTES_MAX);
            Ok(Stranger { hello, send, recv })
        }
        Err(refusal) => {
            refuse(connection, send, &refusal).await;
            Err(HelloError::Refused(refusal))
        }
    }
}

/// Answers a hello with a refusal, and closes when the other end has read it.
pub async fn refuse(connection: &Connection, mut send: FramedSend, refusal: &Refusal) {
    if send.send(&Welcome::Refused(refusal.clone())).await.is_ok() {
        let stream = send.finish();
        let _ = tokio::time::timeout(HELLO_TIMEOUT, stream.stopped()).await;
    }
    connection.close(quinn::VarInt::from_u32(0), b"refused");
}

async fn read_hello(recv: &mut RecvStream) -> Result<Result<Hello, Refusal>, HelloError> {
    let mut length = [0; 4];
    read_exact(recv, &mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > HELLO_BYTES_MAX {
        let error = DecodeError::TooLong { length, max: HELLO_BYTES_MAX };
        return Err(FrameError::Decode(error).into());
    }
    let mut bytes = vec![0; length];
    read_exact(recv, &mut bytes).await?;
    Ok(decode(&bytes))
}

async fn read_exact(recv: &mut RecvStream, bytes: &mut [u8]) -> Result<(), HelloError> {
    recv.read_exact(bytes).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => HelloError::NoHello,
        ReadExactError::ReadError(error) => FrameError::Read(error).into(),
    })
}

/// Magic and version first: they keep their place in all releases, the rest need not.
fn decode(bytes: &[u8]) -> Result<Hello, Refusal> {
    let Ok(((magic, version), _)) = postcard::take_from_bytes::<([u8; 8], u32)>(bytes) else {
        return Err(Refusal::Magic);
    };
    if magic != MAGIC {
        return Err(Refusal::Magic);
    }
    if version != PROTOCOL_VERSION {
        return Err(Refusal::Version { ours: PROTOCOL_VERSION, yours: version });
    }
    wire::decode(bytes).map_err(|_| Refusal::Magic)
}

fn check(hello: &Hello, cluster: ClusterId) -> Result<(), Refusal> {
    if hello.cluster == cluster {
        return Ok(());
    }
    Err(Refusal::Cluster { ours: cluster, yours: hello.cluster })
}

#[cfg(test)]
mod tests;
