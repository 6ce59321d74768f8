use std::net::{Ipv4Addr, SocketAddr};

use common::id::ClientId;
use common::wire::encode_frame;
use common::wire::hello::Identity;

use super::*;
use crate::endpoint::{client_endpoint, dial, server_endpoint};
use crate::role::Role;
use crate::test_authority::TestAuthority;

const CLUSTER: ClusterId = ClusterId(7);

/// Two connected ends: the listener's, the dialler's, and what keeps them alive.
async fn pair() -> (Connection, Connection, [quinn::Endpoint; 2]) {
    let authority = TestAuthority::new();
    let credentials = authority.issue("mds-a", Role::Mds).load().unwrap();
    let server = server_endpoint(&credentials, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let client = client_endpoint(&authority.issue("alice", Role::Client).load().unwrap()).unwrap();
    let addr = server.local_addr().unwrap();
    let (accepted, dialled) =
        tokio::join!(async { server.accept().await.unwrap().await.unwrap() }, async {
            dial(&client, addr, Role::Mds).await.unwrap()
        },);
    (accepted, dialled, [server, client])
}

fn hello() -> Hello {
    Hello::new(CLUSTER, Identity::Client(ClientId(1)), None)
}

#[tokio::test]
async fn hello_is_answered_by_welcome() {
    let (accepted, dialled, _endpoints) = pair().await;
    let listener = async {
        let mut stranger = receive(&accepted, CLUSTER).await.unwrap();
        assert_eq!(stranger.hello, hello());
        let welcome =
            Welcome::Accepted { incarnation: Incarnation(3), map_epoch: MapEpoch(4), received: 0 };
        stranger.send.send(&welcome).await.unwrap();
        stranger
    };
    let hello = hello();
    let (_stranger, greeted) = tokio::join!(listener, greet(&dialled, &hello));
    assert_eq!(greeted.unwrap().incarnation, Incarnation(3));
}

#[tokio::test]
async fn another_cluster_and_another_release_are_told_why() {
    let other = Hello { cluster: ClusterId(8), ..hello() };
    let later = Hello { version: PROTOCOL_VERSION + 1, ..hello() };
    for (sent, expected) in [
        (other, Refusal::Cluster { ours: CLUSTER, yours: ClusterId(8) }),
        (later, Refusal::Version { ours: PROTOCOL_VERSION, yours: PROTOCOL_VERSION + 1 }),
    ] {
        let (accepted, dialled, _endpoints) = pair().await;
        let (received, greeted) = tokio::join!(receive(&accepted, CLUSTER), greet(&dialled, &sent));
        assert!(matches!(received, Err(HelloError::Refused(_))));
        match greeted {
            Err(HelloError::Refused(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_later_release_may_have_another_hello() {
    let mut frame = Vec::new();
    encode_frame(&(MAGIC, PROTOCOL_VERSION + 9, "fields we do not know", [1_u64; 9]), &mut frame);
    assert_eq!(
        decode(&frame[4..]),
        Err(Refusal::Version { ours: PROTOCOL_VERSION, yours: PROTOCOL_VERSION + 9 })
    );
}

#[tokio::test]
async fn garbage_and_endless_frames_end_the_connection_only() {
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), u32::MAX.to_le_bytes().to_vec()] {
        let (accepted, dialled, _endpoints) = pair().await;
        let stranger = async {
            let (mut send, _recv) = dialled.open_bi().await.unwrap();
            send.write_all(&garbage).await.unwrap();
            send.finish().unwrap();
            dialled.closed().await
        };
        let listener = async {
            let error = receive(&accepted, CLUSTER).await.unwrap_err();
            accepted.close(quinn::VarInt::from_u32(0), b"");
            error
        };
        let (_, error) = tokio::join!(stranger, listener);
        assert!(matches!(error, HelloError::Frame(FrameError::Decode(_))), "{error}");
    }
}

#[tokio::test]
async fn a_listener_of_another_authority_does_not_accept_us() {
    let ours = TestAuthority::new();
    let theirs = TestAuthority::new();
    let listener = theirs.issue("mds-a", Role::Mds);
    // It knows how to look like a server of ours, but trusts only its own authority.
    let server = {
        let files = ours.issue("mds-a", Role::Mds);
        let good = files.load().unwrap();
        let bad = listener.load().unwrap();
        let mixed = crate::Credentials::trusting(good, &bad);
        server_endpoint(&mixed, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap()
    };
    let client = client_endpoint(&ours.issue("alice", Role::Client).load().unwrap()).unwrap();
    let addr = server.local_addr().unwrap();
    let accept = async { server.accept().await.unwrap().await.is_err() };
    let ask = async {
        let connection = dial(&client, addr, Role::Mds).await.unwrap();
        greet(&connection, &hello()).await.unwrap_err()
    };
    let (refused, error) = tokio::join!(accept, ask);
    assert!(refused);
    assert!(matches!(error, HelloError::Untrusted(_)), "{error}");
}
