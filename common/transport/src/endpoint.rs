//! Listening and dialling: a UDP socket, TLS, and QUIC tuned for few, long-lived, busy connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint,
    EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt,
};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::credentials::Credentials;
use crate::role::Role;
use crate::tls;

/// A quiet connection is kept alive this often.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A connection on which nothing arrives for so long is broken.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// A handshake takes a few milliseconds, or somebody is not there.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(4);

/// Bytes in flight on one stream: a window that loopback and a fast network do not fill.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;
/// The control stream; the other side of a peer link dials its own connection.
const BIDI_STREAMS_MAX: u32 = 1;
/// Bulk streams under way.
const UNI_STREAMS_MAX: u32 = 64;
/// Our networks are near: a first loss is noticed after this, not after a third of a second.
const INITIAL_RTT: Duration = Duration::from_millis(20);
/// The largest UDP payload tried, for loopback and jumbo frames; discovery finds what fits.
const UDP_PAYLOAD_BYTES_MAX: u16 = 8952;
/// Asked of the kernel, which grants what `net.core.rmem_max` and `wmem_max` allow.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Packets per acknowledgement: at rest the delay timer acknowledges, under load packets are many.
const PACKETS_PER_ACK: u32 = 10;
const ACK_DELAY_MAX: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("cannot listen on {addr}: {source}; {}", bind_remedy(source))]
    Bind { addr: SocketAddr, source: io::Error },
    #[error("cannot set up TLS: {0}; issue the certificate anew with `grove ca issue`")]
    Tls(String),
}

fn bind_remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "another process has this port: stop it, or choose another address with `listen`"
    } else {
        "choose an address of this machine and a free port with `listen`"
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{addr} does not answer; is the daemon running there, and is UDP let through?")]
    TimedOut { addr: SocketAddr },
    #[error(
        "{addr} is not a trusted `{role}` ({reason}); check the address, and that one \
         authority issued both certificates"
    )]
    Untrusted { addr: SocketAddr, role: Role, reason: String },
    #[error("cannot connect to {addr}: {reason}")]
    Failed { addr: SocketAddr, reason: String },
}

/// Listens, and can dial from the same socket. Needs a tokio runtime around it.
///
/// # Errors
/// The address cannot be used, or TLS refuses the certificate.
pub fn server_endpoint(
    credentials: &Credentials,
    listen: SocketAddr,
) -> Result<Endpoint, EndpointError> {
    let crypto = tls::server_config(credentials).map_err(tls_error)?;
    let crypto = QuicServerConfig::try_from(crypto).map_err(tls_error)?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport_config()));
    let mut endpoint = open(stable_endpoint_config(credentials), Some(server), listen)?;
    endpoint.set_default_client_config(client_config(credentials)?);
    Ok(endpoint)
}

/// For dialling only. Needs a tokio runtime around it.
///
/// # Errors
/// No socket can be made, or TLS refuses the certificate.
pub fn client_endpoint(credentials: &Credentials) -> Result<Endpoint, EndpointError> {
    let config = client_config(credentials)?;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    // A host without IPv6 has the other one.
    let mut endpoint = open(sized(EndpointConfig::default()), None, any)
        .or_else(|_| open(sized(EndpointConfig::default()), None, any_v4))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Connects to a server that must prove to have `role`.
///
/// # Errors
/// Says whether nobody answers or somebody else does.
pub async fn dial(
    endpoint: &Endpoint,
    addr: SocketAddr,
    role: Role,
) -> Result<Connection, DialError> {
    let connecting = endpoint
        .connect(addr, &role.server_name())
        .map_err(|error| DialError::Failed { addr, reason: error.to_string() })?;
    match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
        Err(_) => Err(DialError::TimedOut { addr }),
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(dial_error(addr, role, error)),
    }
}

/// TLS alerts arrive as QUIC error codes 0x100 to 0x1ff.
fn is_tls_alert(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

fn dial_error(addr: SocketAddr, role: Role, error: ConnectionError) -> DialError {
    match error {
        ConnectionError::TimedOut => DialError::TimedOut { addr },
        ConnectionError::TransportError(error) if is_tls_alert(error.code) => {
            DialError::Untrusted { addr, role, reason: error.reason }
        }
        ConnectionError::ConnectionClosed(close) if is_tls_alert(close.error_code) => {
            DialError::Untrusted { addr, role, reason: close.to_string() }
        }
        other @ (ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted) => DialError::Failed { addr, reason: other.to_string() },
    }
}

fn client_config(credentials: &Credentials) -> Result<quinn::ClientConfig, EndpointError> {
    let crypto = tls::client_config(credentials).map_err(tls_error)?;
    let crypto = QuicClientConfig::try_from(crypto).map_err(tls_error)?;
    let mut client = quinn::ClientConfig::new(Arc::new(crypto));
    client.transport_config(Arc::new(transport_config()));
    Ok(client)
}

fn tls_error(error: impl ToString) -> EndpointError {
    EndpointError::Tls(error.to_string())
}

fn open(
    config: EndpointConfig,
    server: Option<quinn::ServerConfig>,
    addr: SocketAddr,
) -> Result<Endpoint, EndpointError> {
    let bind_error = |source| EndpointError::Bind { addr, source };
    let socket = UdpSocket::bind(addr).map_err(bind_error)?;
    // Larger buffers only spare retransmissions: whatever the kernel grants is good enough.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_BYTES);
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).map_err(bind_error)
}

/// Keyed by our private key, so that a restarted daemon can tell the connections of its
/// predecessor that they are over: they end within a round trip instead of the idle timeout.
fn stable_endpoint_config(credentials: &Credentials) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, credentials.key.secret_der());
    let reset = hmac::sign(&secret, b"grovefs stateless reset");
    let reset = hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref());
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
    sized(config)
}

/// Connection ids without a signature of the process that made them: quinn's own generator drops,
/// unanswered, packets for what its predecessor has made.
#[derive(Debug)]
struct RandomIds(SystemRandom);

const CONNECTION_ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        self.0.fill(&mut bytes).expect("the kernel gives random bytes");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn sized(mut config: EndpointConfig) -> EndpointConfig {
    config.max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX).expect("between 1200 and 65527");
    config
}

fn transport_config() -> TransportConfig {
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("far below 2^62 milliseconds");
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(UDP_PAYLOAD_BYTES_MAX);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK));
    acks.max_ack_delay(Some(ACK_DELAY_MAX));

    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(mtu))
        .ack_frequency_config(Some(acks))
        .datagram_receive_buffer_size(None);
    config
}

#[cfg(test)]
mod tests;
