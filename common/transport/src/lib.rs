//! QUIC with mutual TLS, and framed streams over it: what daemons, mounts and tools share.
//!
//! Reading order: [`role`] (who may play what), [`credentials`] (a daemon's or user's certificate),
//! [`endpoint`] (listen and dial), [`identity`] (who is at the other end), [`framed`] (values on a
//! stream), [`hello`] (the first exchange on a connection).
//!
//! **Architecture Invariant:** there is no plaintext mode, and no connection without a certificate
//! of the cluster's own authority at both ends. A server is dialled by the name of its *role*, so a
//! client's certificate cannot pose as a server.

pub mod credentials;
pub mod endpoint;
pub mod framed;
pub mod hello;
pub mod identity;
pub mod role;
#[cfg(any(test, feature = "test-authority"))]
pub mod test_authority;
mod tls;

pub use credentials::{Credentials, CredentialsError};
pub use endpoint::{DialError, EndpointError, client_endpoint, dial, server_endpoint};
pub use framed::{FrameError, FramedRecv, FramedSend};
pub use identity::{Identity, IdentityError, peer_identity};
pub use role::Role;
