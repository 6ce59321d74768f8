//! TLS 1.3 with certificates at both ends, by rustls and ring.

use std::sync::Arc;

use common::wire::hello::ALPN;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};

use crate::credentials::Credentials;

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For dialling. Fails if the key does not belong to the certificate.
pub(crate) fn client_config(credentials: &Credentials) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(Arc::clone(&credentials.roots))
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// For listening. Who shows no certificate of our authority is refused.
pub(crate) fn server_config(credentials: &Credentials) -> Result<ServerConfig, rustls::Error> {
    let roots = Arc::clone(&credentials.roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Changes are never sent before the handshake is complete: a replayed one would be applied.
    config.max_early_data_size = 0;
    Ok(config)
}
