use std::net::Ipv4Addr;

use common::limit::FRAME_BYTES_MAX;

use super::*;
use crate::framed::{FramedRecv, FramedSend};
use crate::identity::{Identity, peer_identity};
use crate::test_authority::TestAuthority;

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn server(authority: &TestAuthority, name: &str, role: Role) -> Endpoint {
    let credentials = authority.issue(name, role).load().unwrap();
    server_endpoint(&credentials, loopback()).unwrap()
}

fn client(authority: &TestAuthority, name: &str, role: Role) -> Endpoint {
    client_endpoint(&authority.issue(name, role).load().unwrap()).unwrap()
}

#[tokio::test]
async fn both_ends_know_each_other_and_frames_go_both_ways() {
    let authority = TestAuthority::new();
    let server = server(&authority, "mds-a", Role::Mds);
    let client = client(&authority, "alice", Role::Client);
    let addr = server.local_addr().unwrap();

    let echo = async {
        let connection = server.accept().await.unwrap().await.unwrap();
        let identity = peer_identity(&connection).unwrap();
        assert_eq!(identity, Identity { name: "alice".to_owned(), role: Role::Client });
        let (send, recv) = connection.accept_bi().await.unwrap();
        let mut send = FramedSend::new(send);
        let mut recv = FramedRecv::new(recv, FRAME_BYTES_MAX);
        while let Some(number) = recv.next::<u64>().await.unwrap() {
            send.queue(&(number + 1));
            if number % 100 == 99 {
                send.flush().await.unwrap();
            }
        }
        send.finish();
        connection.closed().await;
    };
    let ask = async {
        let connection = dial(&client, addr, Role::Mds).await.unwrap();
        assert_eq!(peer_identity(&connection).unwrap().role, Role::Mds);
        let (send, recv) = connection.open_bi().await.unwrap();
        let mut send = FramedSend::new(send);
        let mut recv = FramedRecv::new(recv, FRAME_BYTES_MAX);
        for number in 0..1000_u64 {
            send.queue(&number);
        }
        send.flush().await.unwrap();
        for number in 0..1000_u64 {
            assert_eq!(recv.next::<u64>().await.unwrap(), Some(number + 1));
        }
        send.finish();
        assert_eq!(recv.next::<u64>().await.unwrap(), None);
        connection.close(VarInt::from_u32(0), b"");
    };
    tokio::join!(echo, ask);
}

#[tokio::test]
async fn a_server_of_another_role_or_authority_is_not_talked_to() {
    let authority = TestAuthority::new();
    let server = server(&authority, "mallory", Role::Client);
    let addr = server.local_addr().unwrap();
    let accept = tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let _ = incoming.await;
        }
    });
    let honest = client(&authority, "alice", Role::Client);
    let error = dial(&honest, addr, Role::Mds).await.unwrap_err();
    assert!(matches!(error, DialError::Untrusted { role: Role::Mds, .. }), "{error}");

    let stranger = client(&TestAuthority::new(), "alice", Role::Client);
    let error = dial(&stranger, addr, Role::Client).await.unwrap_err();
    assert!(matches!(error, DialError::Untrusted { .. }), "{error}");
    accept.abort();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let authority = TestAuthority::new();
    let credentials = authority.issue("mds-a", Role::Mds).load().unwrap();
    let first = server_endpoint(&credentials, loopback()).unwrap();
    let taken = first.local_addr().unwrap();
    match server_endpoint(&credentials, taken) {
        Err(EndpointError::Bind { addr, source }) => {
            assert_eq!((addr, source.kind()), (taken, io::ErrorKind::AddrInUse));
        }
        other => panic!("{other:?}"),
    }
}

/// The connections of a process that was killed end when its successor hears of them, not when they
/// have been idle for long.
#[test]
fn a_restarted_daemon_ends_the_connections_of_its_predecessor() {
    let authority = TestAuthority::new();
    let credentials = authority.issue("mds-a", Role::Mds).load().unwrap();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (daemon, outside) = (runtime(), runtime());

    let first = daemon.block_on(async { server_endpoint(&credentials, loopback()).unwrap() });
    let addr = first.local_addr().unwrap();
    let client = outside.block_on(async { client(&authority, "alice", Role::Client) });
    let accepting = {
        let first = first.clone();
        daemon.spawn(async move { first.accept().await.unwrap().await.unwrap() })
    };
    let dialled = outside.block_on(dial(&client, addr, Role::Mds)).unwrap();
    let accepted = outside.block_on(accepting).unwrap();
    // Without its runtime the daemon can say no more than a killed one.
    drop(daemon);
    drop((accepted, first));

    outside.block_on(async {
        let _second = server_endpoint(&credentials, addr).unwrap();
        // The answer may already be here.
        if let Ok((mut send, _recv)) = dialled.open_bi().await {
            let _ = send.write_all(b"anybody there?").await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(4), dialled.closed()).await.unwrap();
        assert!(matches!(ended, ConnectionError::Reset), "{ended}");
    });
}
